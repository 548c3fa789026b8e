// SPDX-License-Identifier: Apache-2.0
//
// Streaming attention with E2Softmax, and with its shift form: the regions.
//
//      K, V --> banks;   score_slices --> row_maxima --> exponents --> divide_slices --> weigh_slices --> y
//                                                            stages and FIFOs: attn_attention_e2stages.h
//
// Formula:  y_i = Q_y( tail( sum_j Q_p( p_ij ) * v_j ) ),  or
//           y_i = Q_y( tail( limited( C[q] * 2^-(ks + out_shift) * sum_j v_j << (numerator_frac - k_j) ) ) )
// Cycles a sequence: sum over rows of G * slices(i) * R, as in attn_attention.h.
// Source: SOLE, arXiv 2510.17189, section III-B.

#ifndef HLS4ATTN_ATTENTION_E2SOFTMAX_H_
#define HLS4ATTN_ATTENTION_E2SOFTMAX_H_

#include "attn_attention_e2stages.h"

namespace hls4attn {

template <typename CONFIG_T, int FACTORS, int PLACES, int MANTISSAS> struct attention_e2_legal {
    static_assert(FACTORS == CONFIG_T::heads && PLACES == CONFIG_T::heads, "E2Softmax: one factor and shift a head");
    static_assert(MANTISSAS == 1 << CONFIG_T::mux_bits, "E2Softmax: one mantissa for each value of q");
    static_assert(CONFIG_T::slice_length >= 0 && CONFIG_T::slice_length % CONFIG_T::lanes == 0,
                  "E2Softmax: lanes divides slice_length");
    static const bool value = e2_legal<CONFIG_T>::value;
};

// Both regions; form_T says what divide_slices hands to weigh_slices.
template <class form_T, typename CONFIG_T, class q_T, class k_T, class v_T, class res_T, class factor_T, int FACTORS,
          class places_T, int PLACES, class mantissa_T, int MANTISSAS, class score_scale_T, int SCORE_SCALES,
          class score_offset_T, int SCORE_OFFSETS, class scale_T, int SCALES, class offset_T, int OFFSETS,
          class length_T>
void attention_e2(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                  const factor_T (&factor)[FACTORS], const places_T (&places)[PLACES],
                  const mantissa_T (&divider)[MANTISSAS], const score_scale_T (&score_scale)[SCORE_SCALES],
                  const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                  const offset_T (&offset)[OFFSETS], const length_T length) {
    typedef attention_e2_sizes<CONFIG_T> sizes;
    typedef typename sizes::key_bank key_bank;
    typedef typename sizes::value_bank value_bank;
    #pragma HLS DATAFLOW
    HLS4ATTN_BANK(key_bank, keys)
    #pragma HLS ARRAY_PARTITION variable=keys complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=keys complete dim=3
    HLS4ATTN_BANK(value_bank, values)
    #pragma HLS ARRAY_PARTITION variable=values complete dim=1
    #pragma HLS ARRAY_RESHAPE variable=values complete dim=3
    hls::stream<typename sizes::score_word> scores("scores");
    #pragma HLS STREAM variable=scores depth=2
    HLS4ATTN_DEPTH(scores, 2)
    hls::stream<typename sizes::score_word> waiting("waiting");
    #pragma HLS STREAM variable=waiting depth=sizes::waiting_depth
    HLS4ATTN_DEPTH(waiting, sizes::waiting_depth)
    hls::stream<typename sizes::top_word> maxima("maxima");
    #pragma HLS STREAM variable=maxima depth=sizes::maxima_depth
    HLS4ATTN_DEPTH(maxima, sizes::maxima_depth)
    hls::stream<typename sizes::k_word> codes("codes");
    #pragma HLS STREAM variable=codes depth=sizes::k_depth
    HLS4ATTN_DEPTH(codes, sizes::k_depth)
    hls::stream<typename sizes::top_word> tops("tops");
    #pragma HLS STREAM variable=tops depth=sizes::tops_depth
    HLS4ATTN_DEPTH(tops, sizes::tops_depth)
    hls::stream<typename sizes::unit_t> units("units");
    #pragma HLS STREAM variable=units depth=sizes::unit_depth
    HLS4ATTN_DEPTH(units, sizes::unit_depth)
    hls::stream<typename form_T::word_t> probabilities("probabilities"); // or what they follow from
    #pragma HLS STREAM variable=probabilities depth=2
    HLS4ATTN_DEPTH(probabilities, 2)
    HLS4ATTN_PROCESS(load_keys<CONFIG_T>(k, HLS4ATTN_FILL(keys), length))
    HLS4ATTN_PROCESS(load_values<CONFIG_T>(v, HLS4ATTN_FILL(values), length))
    HLS4ATTN_PROCESS(score_slices<CONFIG_T>(q, HLS4ATTN_DRAIN(keys), scores, score_scale, score_offset, length))
    HLS4ATTN_PROCESS(row_maxima<CONFIG_T, sizes::slice_words>(scores, waiting, maxima, length))
    HLS4ATTN_PROCESS(exponents<CONFIG_T>(waiting, maxima, codes, tops, units, factor, places, divider, length))
    HLS4ATTN_PROCESS(divide_slices<CONFIG_T, form_T>(codes, tops, units, probabilities, factor, places, length))
    HLS4ATTN_PROCESS(weigh_slices<CONFIG_T, form_T>(probabilities, HLS4ATTN_DRAIN(values), res, scale, offset, length))
    HLS4ATTN_JOIN
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T,
          int PLACES, class mantissa_T, int MANTISSAS, class score_scale_T, int SCORE_SCALES, class score_offset_T,
          int SCORE_OFFSETS, class scale_T, int SCALES, class offset_T, int OFFSETS, class length_T>
void attention_e2softmax(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                         const factor_T (&factor)[FACTORS], const places_T (&places)[PLACES],
                         const mantissa_T (&divider)[MANTISSAS], const score_scale_T (&score_scale)[SCORE_SCALES],
                         const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                         const offset_T (&offset)[OFFSETS], const length_T length) {
    #pragma HLS INLINE
    static_assert(attention_legal<CONFIG_T, q_T, k_T, v_T, res_T>::value, "attention_e2softmax: see above");
    static_assert(attention_e2_legal<CONFIG_T, FACTORS, PLACES, MANTISSAS>::value, "attention_e2softmax: see above");
    static_assert(CONFIG_T::out_frac >= 1 && CONFIG_T::out_frac <= 16, "e2softmax: 1 to 16 output fraction bits");
    attention_e2<probability_form<CONFIG_T>, CONFIG_T>(q, k, v, res, factor, places, divider, score_scale, score_offset,
                                                       scale, offset, length);
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class factor_T, int FACTORS, class places_T,
          int PLACES, class mantissa_T, int MANTISSAS, class score_scale_T, int SCORE_SCALES, class score_offset_T,
          int SCORE_OFFSETS, class scale_T, int SCALES, class offset_T, int OFFSETS, class length_T>
void attention_e2context(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
                         const factor_T (&factor)[FACTORS], const places_T (&places)[PLACES],
                         const mantissa_T (&divider)[MANTISSAS], const score_scale_T (&score_scale)[SCORE_SCALES],
                         const score_offset_T (&score_offset)[SCORE_OFFSETS], const scale_T (&scale)[SCALES],
                         const offset_T (&offset)[OFFSETS], const length_T length) {
    #pragma HLS INLINE
    static_assert(attention_legal<CONFIG_T, q_T, k_T, v_T, res_T>::value, "attention_e2context: see above");
    static_assert(attention_e2_legal<CONFIG_T, FACTORS, PLACES, MANTISSAS>::value, "attention_e2context: see above");
    static_assert(CONFIG_T::out_shift >= 1 && e2context_sizes<context_of<CONFIG_T> >::scaled <= 62,
                  "e2context: sums of 62 bits");
    attention_e2<shift_form<CONFIG_T>, CONFIG_T>(q, k, v, res, factor, places, divider, score_scale, score_offset,
                                                 scale, offset, length);
}

} // namespace hls4attn

#endif
