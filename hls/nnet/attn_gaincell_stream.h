// SPDX-License-Identifier: Apache-2.0
//
// Gain-cell attention between streams: a row of q, k and v comes, and its result leaves, before the next one comes.
//
//      q ----> row --+
//      k ----> row --+--> one slot a cycle, all heads of the row --> sums --> tail --> row --> y
//      v ----> row --+             |        ^
//                                 state ----+        an empty window at the start of each sequence
//
// Formula:  see attn_gaincell_scan.h
// Cycles of row n = 1, 2, ...:  heads * tile * ceil(min(n, M) / tile) + C,   C = ceil(D / ceil(D / tile))
//                               (split tiles and n >= M: heads * tile more)
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315.

#ifndef HLS4ATTN_GAINCELL_STREAM_H_
#define HLS4ATTN_GAINCELL_STREAM_H_

#include "attn_gaincell_scan.h"
#include "attn_lanes.h"

namespace hls4attn {

// Memories that a constant of the tail is spread over: the lanes read neighbours of one head.
template <typename CONFIG_T> struct gaincell_rows : gaincell_sizes<CONFIG_T> {
    typedef gaincell_sizes<CONFIG_T> sizes;
    template <int BY> struct banks {
        static const int rows = CONFIG_T::heads * (BY == by_element ? CONFIG_T::rows : 1);
        static const int by = BY == by_channel ? int(by_element) : BY; // a head need not start at a lane
        static const int value = lane_banks<by, sizes::lanes, rows, sizes::D>::value;
    };
    static const int scale_banks = banks<CONFIG_T::scale_by>::value, offset_banks = banks<CONFIG_T::offset_by>::value;
};

template <class q_T, class k_T, class v_T, class res_T, typename CONFIG_T, class current_T, int CURRENTS,
          class scale_T, int SCALES, class offset_T, int OFFSETS>
void gaincell(hls::stream<q_T> &q, hls::stream<k_T> &k, hls::stream<v_T> &v, hls::stream<res_T> &res,
              const current_T (&currents)[CURRENTS], const scale_T (&scale)[SCALES],
              const offset_T (&offset)[OFFSETS], const int length) {
    typedef gaincell_rows<CONFIG_T> sizes;
    typedef tail_sizes<sizes::channels * CONFIG_T::rows, sizes::channels> elements;
    static_assert(1LL * CONFIG_T::rows * gaincell_cursor<CONFIG_T>::most < 1LL << 31,
                  "gaincell: a sequence of 2^31 iterations or more");
    static_assert(same_row<q_T, sizes::channels, CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed>::value,
                  "gaincell: the rows of Q are not the ones the model has");
    static_assert(same_row<k_T, sizes::channels, CONFIG_T::in2_width, CONFIG_T::in2_frac, CONFIG_T::in2_signed>::value,
                  "gaincell: the rows of K are not the ones the model has");
    static_assert(same_row<v_T, sizes::channels, CONFIG_T::in3_width, CONFIG_T::in3_frac, CONFIG_T::in3_signed>::value,
                  "gaincell: the rows of V are not the ones the model has");
    static_assert(int(res_T::size) == sizes::channels, "gaincell: a result row has one value a channel of its heads");
    static_assert(covers<CONFIG_T::core_width, -sizes::total, sizes::total>::value, "gaincell: a sum fits the tail");
    #pragma HLS ARRAY_RESHAPE variable=currents cyclic factor=sizes::entries
    #pragma HLS ARRAY_PARTITION variable=scale cyclic factor=sizes::scale_banks
    #pragma HLS ARRAY_PARTITION variable=offset cyclic factor=sizes::offset_banks
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    typename sizes::key_memory keys;
    #pragma HLS ARRAY_RESHAPE variable=keys complete dim=2
    typename sizes::value_memory values;
    #pragma HLS ARRAY_RESHAPE variable=values complete dim=2
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
    typename sizes::code_sums sums;
    #pragma HLS ARRAY_PARTITION variable=sums complete dim=0
    typename res_T::value_type y[CONFIG_T::heads][sizes::passes][sizes::lanes];
    #pragma HLS ARRAY_PARTITION variable=y complete dim=0
    gaincell_cursor<CONFIG_T> at;
    typename sizes::slot_t next = 0, filled = 0;
    int row = 0;
    bool busy = false;
    for (int n = 0; n < CONFIG_T::rows * at.most && row != length; n++) {
        #pragma HLS PIPELINE II=1
        if (!busy) {
            const q_T q_row = q.read();
            const k_T k_row = k.read();
            const v_T v_row = v.read();
            for (int c = 0; c < sizes::channels; c++) {
                #pragma HLS UNROLL
                query[c / sizes::D][c % sizes::D] = level<CONFIG_T::q_levels>(raw(q_row[c]));
                key[c / sizes::D][c % sizes::D] = level<CONFIG_T::k_levels>(raw(k_row[c]));
                value[c / sizes::D][c % sizes::D] = level<CONFIG_T::v_levels>(raw(v_row[c]));
            }
            at.enter(next, filled);
        }
        if (add_codes<CONFIG_T>(at, held, sums)) {
            for (int z = 0; z < sizes::lanes; z++) {
                #pragma HLS UNROLL
                const int d = int(at.pass) * sizes::lanes + z;
                if (d < sizes::D) {
                    const int element = (int(at.made) * CONFIG_T::rows + row) * sizes::D + d;
                    const int channel = int(at.made) * sizes::D + d;
                    y[at.made][at.pass][z] = finish<typename res_T::value_type, CONFIG_T, elements>(
                        sums[at.pass][z], element, channel, scale, offset);
                }
            }
        }
        if (at.scans()) {
            scan_slot<CONFIG_T>(keys, values, currents, query, key, value, at, acc, held);
        }
        busy = at.next();
        if (!busy) {
            res_T word;
            HLS4ATTN_PACK(word)
            for (int c = 0; c < sizes::channels; c++) {
                #pragma HLS UNROLL
                const int d = c % sizes::D;
                word[c] = y[c / sizes::D][d / sizes::lanes][d % sizes::lanes];
            }
            res.write(word);
            row++;
        }
        HLS4ATTN_CYCLES(1)
    }
}

} // namespace hls4attn

#endif
