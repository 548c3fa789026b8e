// SPDX-License-Identifier: Apache-2.0
//
// The processes around every score function of streaming attention: load K and V, scores Q K^T, weighted sum P V.
//
//                        +-- lane 0: rows 0, L, 2L ...      word: P heads x M elements
//      rows of K or V ---+-- ...                            at (slice * G + group) * R + chunk
//                        +-- lane L-1
//
//      q row --> word --( x )-- + over M --( + )--> acc[P][L] --> tail --> score FIFO     one word a slice
//                         ^               over R chunks
//                       keys                                                              masked: the lowest code
//
//      p FIFO --> word --( x )-- + over L --( + )--> acc[R][P*M] --> tail --> y row
//                          ^              over slices
//                        values
//
// Formula:  S = Q_s( tail( Q K^T ) ),  Y = Q_y( tail( P V ) )
// Cycles a sequence (G groups, R chunks, slices(i) of row i): load_rows length * G * R; score_slices and weigh_slices
// sum over rows of G * slices(i) * R.  Each of the products has P * L * M multipliers.
// Source: scaled dot-product attention, arXiv 1706.03762, equation 1.

#ifndef HLS4ATTN_ATTENTION_PRODUCTS_H_
#define HLS4ATTN_ATTENTION_PRODUCTS_H_

#include "attn_attention.h"

namespace hls4attn {

// K or V of a sequence into its bank, one word a cycle.
template <typename CONFIG_T, class code_T, class row_T>
void load_rows(hls::stream<row_T> &rows,
               code_T (&bank)[attention_sizes<CONFIG_T>::L][attention_sizes<CONFIG_T>::words]
                             [attention_sizes<CONFIG_T>::elements],
               const int length) {
    #pragma HLS INLINE
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_sizes<CONFIG_T> sizes;
    code_T codes[sizes::row_words][sizes::elements];
    #pragma HLS ARRAY_PARTITION variable=codes complete dim=0
    int row = 0, lane = 0, first = 0, at = 0;
    for (int n = 0; n < CONFIG_T::rows * sizes::row_words && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (at == 0) {
            words_of<CONFIG_T>(rows.read(), codes);
        }
        for (int e = 0; e < sizes::elements; e++) {
            #pragma HLS UNROLL
            bank[lane][first + at][e] = codes[at][e];
        }
        if (++at == sizes::row_words) {
            at = 0;
            row++;
            if (++lane == sizes::L) {
                lane = 0;
                first += sizes::row_words;
            }
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <typename CONFIG_T, class row_T>
void load_keys(hls::stream<row_T> &k, typename attention_sizes<CONFIG_T>::key_bank &keys, const int length) {
    load_rows<CONFIG_T>(k, keys, length);
}

template <typename CONFIG_T, class row_T>
void load_values(hls::stream<row_T> &v, typename attention_sizes<CONFIG_T>::value_bank &values, const int length) {
    load_rows<CONFIG_T>(v, values, length);
}

// Q K^T, slice by slice.
template <typename CONFIG_T, class row_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void score_slices(hls::stream<row_T> &q, const typename attention_sizes<CONFIG_T>::key_bank &keys,
                  hls::stream<typename attention_sizes<CONFIG_T>::score_word> &scores,
                  const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_sizes<CONFIG_T> sizes;
    typedef score_tail<CONFIG_T> tail;
    typedef tail_sizes<1, CONFIG_T::rows> elements; // a score's channel is its key
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::score_scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::score_offset_banks
    typename sizes::q_code query[sizes::row_words][sizes::elements];
    #pragma HLS ARRAY_PARTITION variable=query complete dim=0
    typename integer<tail::core_width>::type acc[sizes::scores];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    position<CONFIG_T, sizes::chunks> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (at.row_starts()) {
            words_of<CONFIG_T>(q.read(), query);
        }
        typename sizes::score_word result;
        HLS4ATTN_PACK(result)
        for (int lane = 0; lane < sizes::L; lane++) {
            #pragma HLS UNROLL
            const bool seen = at.sees(lane); // what else a bank holds belongs to nobody
            for (int p = 0; p < sizes::P; p++) {
                #pragma HLS UNROLL
                const int s = p * sizes::L + lane;
                typename integer<tail::core_width>::type sum = 0;
                result.lane[s] = -(1 << (CONFIG_T::in_width - 1));
                if (seen) {
                    for (int m = 0; m < sizes::M; m++) {
                        #pragma HLS UNROLL
                        sum += multiply<tail::core_width>(query[at.part()][p * sizes::M + m],
                                                          keys[lane][at.bank_word()][p * sizes::M + m]);
                    }
                    if (at.chunk != 0) {
                        sum += acc[s];
                    }
                    if (at.slice_ends()) {
                        result.lane[s] = requantise_code<typename sizes::score_t, tail::sum_width, tail::sum_frac>(
                            tail_sum<tail, elements>(sum, 0, at.key(lane), scale, offset));
                    }
                }
                acc[s] = sum;
            }
        }
        if (at.slice_ends()) {
            scores.write(result);
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

// The largest of N values from `first` on: a tree, in which node i has the children 2i + 1 and 2i + 2.
template <int N, class value_T, int SIZE> inline value_T largest(const value_T (&values)[SIZE], int first) {
    #pragma HLS INLINE
    value_T node[2 * N - 1];
    #pragma HLS ARRAY_PARTITION variable=node complete
    for (int i = 0; i < N; i++) {
        #pragma HLS UNROLL
        node[N - 1 + i] = values[first + i];
    }
    for (int i = N - 2; i >= 0; i--) {
        #pragma HLS UNROLL
        node[i] = node[2 * i + 1] > node[2 * i + 2] ? node[2 * i + 1] : node[2 * i + 2];
    }
    return node[0];
}

// The running maximum of each row at the end of every WORDS words (0: of the row); the scores follow one step behind.
template <typename CONFIG_T, int WORDS>
void row_maxima(hls::stream<typename attention_sizes<CONFIG_T>::score_word> &scores,
                hls::stream<typename attention_sizes<CONFIG_T>::score_word> &waiting,
                hls::stream<typename attention_sizes<CONFIG_T>::top_word> &maxima, const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_sizes<CONFIG_T> sizes;
    typename sizes::top_word top;
    HLS4ATTN_PACK(top)
    int words = 0;
    position<CONFIG_T, 1> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        const typename sizes::score_word x = scores.read();
        HLS4ATTN_PACK(x)
        waiting.write(x);
        for (int p = 0; p < sizes::P; p++) {
            #pragma HLS UNROLL
            const typename sizes::score_code risen = largest<sizes::L>(x.lane, p * sizes::L);
            if (at.unit_starts() || risen > top.lane[p]) { // one comparison is in the loop
                top.lane[p] = risen;
            }
        }
        words++;
        if (at.unit_ends() || words == WORDS) {
            maxima.write(top);
            words = 0;
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

// What weigh_slices does with probabilities: a multiplier each.
template <typename CONFIG_T> struct product_form {
    typedef typename attention_sizes<CONFIG_T>::p_word word_t;
    typedef typename integer<CONFIG_T::core_width>::type sum_t;
    static sum_t weighed(const word_t &weights, int s, typename attention_sizes<CONFIG_T>::v_code value) {
        #pragma HLS INLINE
        return multiply<CONFIG_T::core_width>(weights.lane[s], value);
    }
    static sum_t core(sum_t sum, const word_t &, int) {
        #pragma HLS INLINE
        return sum;
    }
};

// P V, slice by slice.
template <typename CONFIG_T, class form_T, class row_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
void weigh_slices(hls::stream<typename form_T::word_t> &weights,
                  const typename attention_sizes<CONFIG_T>::value_bank &values, hls::stream<row_T> &res,
                  const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS], const int length) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typedef attention_sizes<CONFIG_T> sizes;
    typedef tail_sizes<1, CONFIG_T::head_dim> elements; // a context's channel is its place in the head
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::context_scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::context_offset_banks
    typename form_T::sum_t acc[sizes::chunks][sizes::elements];
    #pragma HLS ARRAY_PARTITION variable=acc complete dim=0
    typename row_T::value_type y[sizes::row_words][sizes::elements];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    typename form_T::word_t p;
    position<CONFIG_T, sizes::chunks> at(length);
    for (int n = 0; n < at.most && at.more(); n++) {
        #pragma HLS PIPELINE II=1
        if (at.chunk == 0) {
            p = weights.read();
        }
        typename form_T::sum_t sum[sizes::elements]; // of the lanes first: one adder is in the loop
        #pragma HLS ARRAY_PARTITION variable=sum complete
        for (int e = 0; e < sizes::elements; e++) {
            #pragma HLS UNROLL
            sum[e] = 0;
        }
        for (int lane = 0; lane < sizes::L; lane++) {
            #pragma HLS UNROLL
            const bool seen = at.sees(lane);
            for (int e = 0; e < sizes::elements; e++) {
                #pragma HLS UNROLL
                sum[e] += seen ? form_T::weighed(p, e / sizes::M * sizes::L + lane, values[lane][at.bank_word()][e])
                               : typename form_T::sum_t(0);
            }
        }
        for (int e = 0; e < sizes::elements; e++) {
            #pragma HLS UNROLL
            if (!at.unit_starts()) {
                sum[e] += acc[at.chunk][e];
            }
            acc[at.chunk][e] = sum[e];
            const int n_of_head = int(at.chunk) * sizes::M + e % sizes::M;
            if (at.unit_ends() && n_of_head < CONFIG_T::head_dim) {
                y[at.part()][e] = finish<typename row_T::value_type, CONFIG_T, elements>(
                    form_T::core(sum[e], p, e / sizes::M), 0, n_of_head, scale, offset);
            }
        }
        if (at.row_ends()) {
            const row_T row = row_of<CONFIG_T, row_T>(y);
            HLS4ATTN_PACK(row)
            res.write(row);
        }
        at.step();
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
