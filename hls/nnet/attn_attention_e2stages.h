// SPDX-License-Identifier: Apache-2.0
//
// Streaming attention with E2Softmax: no multiplier and no division in the score function; its shift form none in P V.
//
//      score_slices --> row_maxima --scores, one slice behind--> exponents --k_j, a row behind--> divide_slices ---+
//                            |                                   ^   | |                          ^ ^            |
//                            +---running maximum m of a slice----+   | +--m of each slice---------+ |            |
//                                                                    +----final m, ks, C[q]---------+            |
//      E2Softmax: probabilities to weigh_slices;  E2Context: k_j, ks, C[q] to weigh_slices, which shifts v_j <---+
//
// Formula:  m, k_j, S, ks, q of attn_e2stages.h over slices of slice_length scores (0: the whole row, two passes);
//           p_j of attn_e2softmax.h,  or the context of attn_e2context.h
// Cycles a sequence: sum over rows of G * slices(i) * R, as in attn_attention.h; the stages take 1 / R of that and
// overlap: a row leaves a slice of the function, a row and the pipelines' depth after its scores; two passes: two rows.
// `lanes` divides slice_length, so that no word belongs to two slices of the function.
// Source: SOLE, arXiv 2510.17189, section III-B, algorithm 1, figure 4.

#ifndef HLS4ATTN_ATTENTION_E2STAGES_H_
#define HLS4ATTN_ATTENTION_E2STAGES_H_

#include "attn_attention_products.h"
#include "attn_e2context.h"
#include "attn_e2softmax.h"

namespace hls4attn {

struct attention_e2softmax_config : attention_config, e2_config {
    static const int out_frac = 8;
    static const bool round_half_up = true;
};

struct attention_e2context_config : attention_config, e2_config {
    static const int out_shift = 15;
};

// The members of the shift form's arithmetic; the tail is the context's.
template <typename CONFIG_T> struct context_of : CONFIG_T {
    static const int inner = CONFIG_T::rows;
    static const int in2_width = CONFIG_T::v_width;
    static const bool in2_signed = CONFIG_T::v_signed;
};

// What a row leaves behind: its maximum, the leading one of its sum and its mantissa, one of each a head.
template <typename CONFIG_T> struct e2_unit {
    typedef typename integer<7>::type ks_t;
    typedef typename integer<CONFIG_T::divider_frac + 1>::type mantissa_t;
    typename e2_sizes<CONFIG_T>::distance_t top[CONFIG_T::parallel_heads];
    ks_t ks[CONFIG_T::parallel_heads];
    mantissa_t mantissa[CONFIG_T::parallel_heads];
};

template <typename CONFIG_T> struct attention_e2_sizes : attention_sizes<CONFIG_T> {
    typedef attention_sizes<CONFIG_T> sizes;
    typedef e2_row<CONFIG_T, CONFIG_T::rows> row_t;
    typedef e2_unit<CONFIG_T> unit_t;
    typedef typename e2_sizes<CONFIG_T>::numerator_t numerator_t;
    typedef word<typename stored<e2_sizes<CONFIG_T>::exponent>::type, sizes::scores> k_word;
    static const int slice_words = CONFIG_T::slice_length / sizes::L; // 0: the row
    static const int row_slices = slice_words > 0 ? ceil_div(sizes::slices, slice_words) : 1;
    static const int waiting_depth = 2 * (slice_words > 0 ? slice_words : sizes::slices);
    static const int k_depth = 2 * sizes::slices;
    static const int maxima_depth = CONFIG_T::causal ? waiting_depth : 2; // the first rows have one slice
    static const int tops_depth = CONFIG_T::causal ? k_depth : 2 * row_slices;
    static const int unit_depth = CONFIG_T::causal ? k_depth : 2;
};

// Exponents and their row's sum, a slice behind the maxima.
template <typename CONFIG_T, class factor_T, int FACTORS, class places_T, int PLACES, class mantissa_T, int MANTISSAS>
void exponents(hls::stream<typename attention_sizes<CONFIG_T>::score_word> &waiting,
               hls::stream<typename attention_sizes<CONFIG_T>::top_word> &maxima,
               hls::stream<typename attention_e2_sizes<CONFIG_T>::k_word> &codes,
               hls::stream<typename attention_sizes<CONFIG_T>::top_word> &tops,
               hls::stream<typename attention_e2_sizes<CONFIG_T>::unit_t> &units, const factor_T (&factor)[FACTORS],
               const places_T (&places)[PLACES], const mantissa_T (&divider)[MANTISSAS], const int length) {
    #pragma HLS ARRAY_PARTITION variable=factor complete
    #pragma HLS ARRAY_PARTITION variable=places complete
    #pragma HLS ARRAY_PARTITION variable=divider complete
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_e2_sizes<CONFIG_T> sizes;
    typedef typename e2_sizes<CONFIG_T>::distance_t distance_t;
    typename sizes::unit_t unit;
    HLS4ATTN_PACK(unit)
    typename sizes::row_t::sum_t sum[sizes::P];
    #pragma HLS ARRAY_PARTITION variable=sum complete
    int words = 0;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (words == 0) {
            const typename sizes::top_word risen = maxima.read();
            HLS4ATTN_PACK(risen)
            tops.write(risen);
            for (int p = 0; p < sizes::P; p++) {
                #pragma HLS UNROLL
                if (at.unit_starts()) {
                    sum[p] = 0;
                } else {
                    const distance_t rise = distance_t(risen.lane[p]) - unit.top[p];
                    const int k = log2exp<CONFIG_T>(rise, factor[at.head(p)], places[at.head(p)]);
                    sum[p] = shift_down<sizes::row_t::width>(sum[p], k);
                }
                unit.top[p] = risen.lane[p];
            }
        }
        const typename sizes::score_word x = waiting.read();
        typename sizes::k_word result;
        HLS4ATTN_PACK(result)
        for (int p = 0; p < sizes::P; p++) {
            #pragma HLS UNROLL
            typename sizes::row_t::sum_t slice = 0; // of the lanes first: a shift and one adder are in the loop
            for (int lane = 0; lane < sizes::L; lane++) {
                #pragma HLS UNROLL
                const distance_t below = unit.top[p] - distance_t(x.lane[p * sizes::L + lane]);
                const int k = log2exp<CONFIG_T>(below, factor[at.head(p)], places[at.head(p)]);
                result.lane[p * sizes::L + lane] = k;
                slice += at.sees(lane) ? numerator<CONFIG_T>(k) : typename sizes::numerator_t(0);
            }
            sum[p] += slice;
        }
        codes.write(result);
        words++;
        if (at.unit_ends() || words == sizes::slice_words) {
            words = 0;
        }
        if (at.unit_ends()) {
            for (int p = 0; p < sizes::P; p++) {
                #pragma HLS UNROLL
                int ks, q;
                leading_one<CONFIG_T, CONFIG_T::rows>(sum[p], ks, q);
                unit.ks[p] = ks;
                unit.mantissa[p] = divider[q];
            }
            units.write(unit);
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

// What divide_slices makes of an exponent: a probability.
template <typename CONFIG_T> struct probability_form : product_form<CONFIG_T> {
    typedef function_of<CONFIG_T> function;
    typedef typename attention_sizes<CONFIG_T>::p_word word_t;
    typedef typename attention_sizes<CONFIG_T>::p_t p_t;
    static void unit(word_t &, const e2_unit<CONFIG_T> &) {}
    static void put(word_t &result, int s, int p, int k, bool seen, const e2_unit<CONFIG_T> &unit) {
        #pragma HLS INLINE
        result.lane[s] = 0;
        if (seen) {
            result.lane[s] = requantise_code<p_t, function::sum_width, function::sum_frac>(
                divide<function>(k, int(unit.ks[p]), int(unit.mantissa[p])));
        }
    }
};

// Or nothing yet: weigh_slices shifts the values by it and divides the sum.
template <typename CONFIG_T> struct shift_form {
    typedef context_of<CONFIG_T> context;
    typedef typename e2context_sizes<context>::sum_t sum_t;
    struct word_t {
        typename stored<e2_sizes<CONFIG_T>::exponent>::type lane[attention_sizes<CONFIG_T>::scores];
        typename e2_unit<CONFIG_T>::ks_t ks[CONFIG_T::parallel_heads];
        typename e2_unit<CONFIG_T>::mantissa_t mantissa[CONFIG_T::parallel_heads];
    };
    static void unit(word_t &result, const e2_unit<CONFIG_T> &unit) {
        #pragma HLS INLINE
        for (int p = 0; p < CONFIG_T::parallel_heads; p++) {
            #pragma HLS UNROLL
            result.ks[p] = unit.ks[p];
            result.mantissa[p] = unit.mantissa[p];
        }
    }
    static void put(word_t &result, int s, int, int k, bool, const e2_unit<CONFIG_T> &) {
        #pragma HLS INLINE
        result.lane[s] = k;
    }
    static sum_t weighed(const word_t &weights, int s, typename attention_sizes<CONFIG_T>::v_code value) {
        #pragma HLS INLINE
        return shifted<context>(value, int(weights.lane[s]));
    }
    static typename integer<CONFIG_T::core_width>::type core(sum_t sum, const word_t &weights, int p) {
        #pragma HLS INLINE
        return divide_sum<context>(sum, int(weights.ks[p]), int(weights.mantissa[p]));
    }
};

// The corrections that the final maximum brings, and what follows from the row's sum.
template <typename CONFIG_T, class form_T, class factor_T, int FACTORS, class places_T, int PLACES>
void divide_slices(hls::stream<typename attention_e2_sizes<CONFIG_T>::k_word> &codes,
                   hls::stream<typename attention_sizes<CONFIG_T>::top_word> &tops,
                   hls::stream<typename attention_e2_sizes<CONFIG_T>::unit_t> &units,
                   hls::stream<typename form_T::word_t> &weights, const factor_T (&factor)[FACTORS],
                   const places_T (&places)[PLACES], const int length) {
    #pragma HLS ARRAY_PARTITION variable=factor complete
    #pragma HLS ARRAY_PARTITION variable=places complete
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_e2_sizes<CONFIG_T> sizes;
    typedef typename e2_sizes<CONFIG_T>::distance_t distance_t;
    typename sizes::unit_t unit;
    typename e2_sizes<CONFIG_T>::exponent_t fall[sizes::P];
    #pragma HLS ARRAY_PARTITION variable=fall complete
    int words = 0;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (at.unit_starts()) {
            unit = units.read();
        }
        if (words == 0) {
            const typename sizes::top_word top = tops.read();
            for (int p = 0; p < sizes::P; p++) {
                #pragma HLS UNROLL
                fall[p] = log2exp<CONFIG_T>(distance_t(unit.top[p] - distance_t(top.lane[p])), factor[at.head(p)],
                                            places[at.head(p)]);
            }
        }
        const typename sizes::k_word k = codes.read();
        typename form_T::word_t result;
        HLS4ATTN_PACK(result)
        form_T::unit(result, unit);
        for (int s = 0; s < sizes::scores; s++) {
            #pragma HLS UNROLL
            const int p = s / sizes::L;
            form_T::put(result, s, p, int(corrected<CONFIG_T>(k.lane[s], int(fall[p]))), at.sees(s % sizes::L),
                        unit);
        }
        weights.write(result);
        words++;
        if (at.unit_ends() || words == sizes::slice_words) {
            words = 0;
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
