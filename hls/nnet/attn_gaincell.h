// SPDX-License-Identifier: Apache-2.0
//
// Gain-cell attention, one token at a time, and as a kernel between arrays.
//
//      q, k, v of one token --> gaincell_token --> sums of codes      state and table belong to the caller, and stay
//                                |    ^    ^
//                             state --+    +-- currents
//
//      all tokens --> gaincell: for each token { load --> gaincell_token --> tail --> store }      from an empty window
//
// Formula:  see attn_gaincell_scan.h
// Cycles a token:  heads * tile * ceil(n / tile) + C  (attn_gaincell_scan.h); between arrays heads * D more to load and
//                  as many to store
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315.

#ifndef HLS4ATTN_GAINCELL_H_
#define HLS4ATTN_GAINCELL_H_

#include "attn_gaincell_scan.h"

namespace hls4attn {

// All slots of one token, which the cursor stands at.
template <typename CONFIG_T, class current_T, int CURRENTS, class q_T, class k_T, class v_T, class sum_T>
void scan_token(typename gaincell_sizes<CONFIG_T>::key_memory &keys,
                typename gaincell_sizes<CONFIG_T>::value_memory &values, gaincell_cursor<CONFIG_T> at,
                const current_T (&currents)[CURRENTS], const q_T (&q)[CONFIG_T::heads * CONFIG_T::head_dim],
                const k_T (&k)[CONFIG_T::heads * CONFIG_T::head_dim],
                const v_T (&v)[CONFIG_T::heads * CONFIG_T::head_dim],
                sum_T (&sums)[CONFIG_T::heads * CONFIG_T::head_dim]) {
    typedef gaincell_sizes<CONFIG_T> sizes;
    #pragma HLS ARRAY_RESHAPE variable=keys complete dim=2
    #pragma HLS ARRAY_RESHAPE variable=values complete dim=2
    #pragma HLS ARRAY_RESHAPE variable=currents cyclic factor=sizes::entries
    typename sizes::q_token query;
    #pragma HLS ARRAY_PARTITION variable=query complete dim=0
    typename sizes::k_token key;
    #pragma HLS ARRAY_PARTITION variable=key complete dim=0
    typename sizes::v_token value;
    #pragma HLS ARRAY_PARTITION variable=value complete dim=0
    typename sizes::tile_charges acc;
    #pragma HLS ARRAY_PARTITION variable=acc complete
    typename sizes::held_charges held;
    #pragma HLS ARRAY_PARTITION variable=held complete dim=0
    typename sizes::code_sums totals;
    #pragma HLS ARRAY_PARTITION variable=totals complete dim=0
    for (int c = 0; c < sizes::channels; c++) {
        #pragma HLS UNROLL
        query[c / sizes::D][c % sizes::D] = level<CONFIG_T::q_levels>(q[c]);
        key[c / sizes::D][c % sizes::D] = level<CONFIG_T::k_levels>(k[c]);
        value[c / sizes::D][c % sizes::D] = level<CONFIG_T::v_levels>(v[c]);
    }
    bool busy = true;
    for (int n = 0; n < at.most && busy; n++) {
        #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        if (add_codes<CONFIG_T>(at, held, totals)) {
            for (int z = 0; z < sizes::lanes; z++) {
                #pragma HLS UNROLL
                const int d = int(at.pass) * sizes::lanes + z;
                if (d < sizes::D) {
                    sums[int(at.made) * sizes::D + d] = sum_T(totals[at.pass][z]);
                }
            }
        }
        if (at.scans()) {
            scan_slot<CONFIG_T>(keys, values, currents, query, key, value, at, acc, held);
        }
        busy = at.next();
    }
}

// One token of all heads: codes in, sums of its tiles' codes out; state.filled then counts the slots in use.
template <typename CONFIG_T, class current_T, int CURRENTS, class q_T, class k_T, class v_T, class sum_T>
void gaincell_token(gaincell_state<CONFIG_T> &state, const current_T (&currents)[CURRENTS],
                    const q_T (&q)[CONFIG_T::heads * CONFIG_T::head_dim],
                    const k_T (&k)[CONFIG_T::heads * CONFIG_T::head_dim],
                    const v_T (&v)[CONFIG_T::heads * CONFIG_T::head_dim],
                    sum_T (&sums)[CONFIG_T::heads * CONFIG_T::head_dim]) {
    gaincell_cursor<CONFIG_T> at;
    at.enter(state.next, state.filled);
    scan_token<CONFIG_T>(state.keys, state.values, at, currents, q, k, v, sums);
}

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class current_T, int CURRENTS,
          class scale_T, int SCALES, class offset_T, int OFFSETS>
void gaincell(const q_T q[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::head_dim],
              const k_T k[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::head_dim],
              const v_T v[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::head_dim],
              res_T res[CONFIG_T::heads * CONFIG_T::rows * CONFIG_T::head_dim],
              const current_T (&currents)[CURRENTS], const scale_T (&scale)[SCALES],
              const offset_T (&offset)[OFFSETS]) {
    static_assert(same_format<q_T, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value &&
                      same_format<k_T, CONFIG_T::in2_width, CONFIG_T::in2_frac, CONFIG_T::in2_signed>::value &&
                      same_format<v_T, CONFIG_T::in3_width, CONFIG_T::in3_frac, CONFIG_T::in3_signed>::value,
                  "gaincell: an operand's type is not the one the model has");
    typedef gaincell_sizes<CONFIG_T> sizes;
    typedef tail_sizes<sizes::channels * CONFIG_T::rows, sizes::channels> elements;
    static_assert(covers<CONFIG_T::core_width, -sizes::total, sizes::total>::value, "gaincell: a sum fits the tail");
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=CONFIG_T::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=CONFIG_T::offset_banks
    gaincell_state<CONFIG_T> state;
    gaincell_clear(state);
    for (int row = 0; row < CONFIG_T::rows; row++) {
        typename sizes::q_code query[sizes::channels];
        #pragma HLS ARRAY_PARTITION variable=query complete
        typename sizes::k_code key[sizes::channels];
        #pragma HLS ARRAY_PARTITION variable=key complete
        typename sizes::v_code value[sizes::channels];
        #pragma HLS ARRAY_PARTITION variable=value complete
        typename integer<CONFIG_T::core_width>::type sums[sizes::channels];
        #pragma HLS ARRAY_PARTITION variable=sums complete
        for (int h = 0; h < CONFIG_T::heads; h++) {
            for (int d = 0; d < sizes::D; d++) {
                #pragma HLS PIPELINE II=1
                const int c = h * sizes::D + d;
                query[c] = level<CONFIG_T::q_levels>(
                    raw(q[h * CONFIG_T::q_head + row * CONFIG_T::q_row + d * CONFIG_T::q_inner]));
                key[c] = level<CONFIG_T::k_levels>(
                    raw(k[h * CONFIG_T::k_head + row * CONFIG_T::k_row + d * CONFIG_T::k_inner]));
                value[c] = level<CONFIG_T::v_levels>(
                    raw(v[h * CONFIG_T::v_head + row * CONFIG_T::v_row + d * CONFIG_T::v_inner]));
            }
        }
        gaincell_token<CONFIG_T>(state, currents, query, key, value, sums);
        for (int h = 0; h < CONFIG_T::heads; h++) {
            for (int d = 0; d < sizes::D; d++) {
                #pragma HLS PIPELINE II=1
                const int element = (h * CONFIG_T::rows + row) * sizes::D + d, channel = h * sizes::D + d;
                res[h * CONFIG_T::y_head + row * CONFIG_T::y_row + d * CONFIG_T::y_inner] =
                    finish<res_T, CONFIG_T, elements>(sums[channel], element, channel, scale, offset);
            }
        }
    }
}

} // namespace hls4attn

#endif
