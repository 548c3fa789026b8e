// SPDX-License-Identifier: Apache-2.0
//
// Gain-cell heads between AXI4-Streams: tokens, and commands that change what the heads remember.
//
//                                    +--> orders --------------------+
//                                    |                               v                answered
//      in_r --> cells_route --> words, kinds --> cells_rows --> rows --> cells_serve ---------> cells_answers --> out_r
//      TUSER                                          |                  |  windows |  results      ^
//                                                     |                  |  tables  |               |
//                                                     +------------------|--- ends -|---------------+
//
//      TUSER 1:0      0 token      3 * heads rows of q, k, v codes (attn_axis.h); answered by heads rows of sums
//                     1 clear      one word: 0 the window of the layer, 1 all windows
//                     2 current    one word: the next entry of the new table
//                     3 table      one word: 0 a new table begins, 1 the new table replaces the one in use
//      TUSER 7:2      layer
//
// A layer has a window of its own; all share the table, which is one of two: the other one is written.
// Formula:  see attn_gaincell_scan.h, for the window of the token's layer
// Every process takes one order at a time, so each call of the region is one token or one command.
// Cycles a token:  3 heads + (those of attn_gaincell_scan.h) + heads, and the depths of these loops; the words of the
//                  next token come in, and those of the last answer leave, meanwhile
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315.

#ifndef HLS4ATTN_GAINCELL_AXIS_H_
#define HLS4ATTN_GAINCELL_AXIS_H_

#include "attn_axis.h"
#include "attn_gaincell.h"

namespace hls4attn {

static const int cells_token = 0, cells_clear = 1, cells_current = 2, cells_table = 3;

// What a word of the port asks for.
struct cells_order {
    ap_uint<2> kind;
    ap_uint<6> layer;
    ap_uint<32> data;
};

// A word of a token.
struct cells_word {
    ap_uint<32> data;
    ap_uint<1> last;
};

// Whether an order is a token.
struct cells_flag {
    ap_uint<1> token;
};

// Words of one token, or the one of a command.
template <class port_T, typename CONFIG_T>
void cells_route(hls::stream<port_T> &port, hls::stream<cells_order> &orders, hls::stream<cells_flag> &kinds,
                 hls::stream<cells_word> &words) {
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    bool token = true;
    for (int n = 0; n < axis_sizes<CONFIG_T>::words && token; n++) {
        #pragma HLS PIPELINE II=1
        const port_T in = port.read();
        if (n == 0) {
            cells_order order;
            HLS4ATTN_PACK(order)
            order.kind = in.user.range(1, 0);
            order.layer = in.user.range(7, 2);
            order.data = in.data;
            token = order.kind == cells_token;
            cells_flag kind;
            HLS4ATTN_PACK(kind)
            kind.token = token;
            orders.write(order);
            kinds.write(kind);
        }
        if (token) {
            cells_word word;
            HLS4ATTN_PACK(word)
            word.data = in.data;
            word.last = in.last;
            words.write(word);
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <class row_T, typename CONFIG_T>
void cells_rows(hls::stream<cells_flag> &kinds, hls::stream<cells_word> &words, hls::stream<row_T> &rows,
                hls::stream<axis_flag> &ends) {
    const cells_flag kind = kinds.read();
    axis_unpack<cells_word, row_T, CONFIG_T>(words, rows, ends, kind.token == 1);
}

template <class row_T, class port_T, typename CONFIG_T>
void cells_answers(hls::stream<cells_flag> &answered, hls::stream<row_T> &results, hls::stream<axis_flag> &ends,
                   hls::stream<port_T> &port) {
    const cells_flag kind = answered.read();
    axis_pack<row_T, port_T, CONFIG_T>(results, ends, port, kind.token == 1);
}

// What the heads remember; the caller owns it.
template <typename CONFIG_T> struct cells_memory {
    typedef gaincell_sizes<CONFIG_T> sizes;
    static const int currents = CONFIG_T::tables * CONFIG_T::window * sizes::entries;
    typedef typename sizes::slot_t slots[CONFIG_T::layers]; // next one, or number of filled ones, of each layer
    typedef typename integer<bit_length(CONFIG_T::window * sizes::entries) + 1>::type address; // in the new table
    static_assert(CONFIG_T::layers >= 1 && CONFIG_T::layers <= 64, "cells: 1 to 64 layers");
    static_assert(CONFIG_T::tables == 2, "cells: a table in use and the next one");
};

// The rows of a token: q, k and v, head by head.
template <typename CONFIG_T, class row_T, class q_T, class k_T, class v_T>
void cells_load(hls::stream<row_T> &rows, q_T (&q)[CONFIG_T::heads * CONFIG_T::head_dim],
                k_T (&k)[CONFIG_T::heads * CONFIG_T::head_dim], v_T (&v)[CONFIG_T::heads * CONFIG_T::head_dim]) {
    static_assert(int(row_T::size) == CONFIG_T::head_dim, "cells: a row is a head's");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    int first = 0, part = 0;
    for (int r = 0; r < 3 * CONFIG_T::heads; r++) {
        #pragma HLS PIPELINE II=1
        const row_T row = rows.read();
        for (int d = 0; d < CONFIG_T::head_dim; d++) {
            #pragma HLS UNROLL
            if (part == 0) {
                q[first + d] = level<CONFIG_T::q_levels>(raw(row[d]));
            } else if (part == 1) {
                k[first + d] = level<CONFIG_T::k_levels>(raw(row[d]));
            } else {
                v[first + d] = level<CONFIG_T::v_levels>(raw(row[d]));
            }
        }
        first += CONFIG_T::head_dim;
        if (first == CONFIG_T::heads * CONFIG_T::head_dim) {
            first = 0;
            part++;
        }
        HLS4ATTN_CYCLES(1)
    }
}

template <typename CONFIG_T, class row_T, class sum_T>
void cells_store(const sum_T (&sums)[CONFIG_T::heads * CONFIG_T::head_dim], hls::stream<row_T> &results) {
    typedef typename row_T::value_type value_t;
    static_assert(int(row_T::size) == CONFIG_T::head_dim, "cells: a row is a head's");
    static_assert(covers<format_of<value_t>::carrier, -gaincell_sizes<CONFIG_T>::total,
                         gaincell_sizes<CONFIG_T>::total>::value, "cells: a sum fits its place on the port");
    HLS4ATTN_LATENCY(CONFIG_T::latency)
    for (int h = 0; h < CONFIG_T::heads; h++) {
        #pragma HLS PIPELINE II=1
        row_T row;
        HLS4ATTN_PACK(row)
        for (int d = 0; d < CONFIG_T::head_dim; d++) {
            #pragma HLS UNROLL
            row[d] = from_raw<value_t>(sums[h * CONFIG_T::head_dim + d]);
        }
        results.write(row);
        HLS4ATTN_CYCLES(1)
    }
}

// One order.  `half` is the table in use, `address` the place of the next current in the other one.
template <typename CONFIG_T, class in_T, class res_T, class current_T, int CURRENTS>
void cells_serve(hls::stream<cells_order> &orders, hls::stream<in_T> &rows, hls::stream<res_T> &results,
                 hls::stream<cells_flag> &answered, typename gaincell_sizes<CONFIG_T>::key_memory &keys,
                 typename gaincell_sizes<CONFIG_T>::value_memory &values,
                 typename cells_memory<CONFIG_T>::slots &next, typename cells_memory<CONFIG_T>::slots &filled,
                 current_T (&currents)[CURRENTS], bool &half, typename cells_memory<CONFIG_T>::address &address) {
    typedef gaincell_sizes<CONFIG_T> sizes;
    static const int words = CONFIG_T::window * sizes::entries;
    #pragma HLS ARRAY_RESHAPE variable=keys complete dim=2
    #pragma HLS ARRAY_RESHAPE variable=values complete dim=2
    #pragma HLS ARRAY_RESHAPE variable=currents cyclic factor=sizes::entries
    #pragma HLS ARRAY_PARTITION variable=next complete
    #pragma HLS ARRAY_PARTITION variable=filled complete
    typename sizes::q_code q[sizes::channels];
    #pragma HLS ARRAY_PARTITION variable=q complete
    typename sizes::k_code k[sizes::channels];
    #pragma HLS ARRAY_PARTITION variable=k complete
    typename sizes::v_code v[sizes::channels];
    #pragma HLS ARRAY_PARTITION variable=v complete
    typename sizes::sum_t sums[sizes::channels];
    #pragma HLS ARRAY_PARTITION variable=sums complete
    const cells_order order = orders.read();
    const int asked = int(order.layer), layer = asked < CONFIG_T::layers ? asked : 0; // the shell asks for no other
    cells_flag kind;
    HLS4ATTN_PACK(kind)
    kind.token = order.kind == cells_token;
    answered.write(kind);
    if (order.kind == cells_token) {
        cells_load<CONFIG_T>(rows, q, k, v);
        gaincell_cursor<CONFIG_T> at;
        typename sizes::slot_t newest = next[layer], count = filled[layer];
        at.enter(newest, count);
        next[layer] = newest;
        filled[layer] = count;
        at.base = layer * CONFIG_T::heads * CONFIG_T::window;
        at.table = half ? int(CONFIG_T::window) : 0;
        scan_token<CONFIG_T>(keys, values, at, currents, q, k, v, sums);
        cells_store<CONFIG_T>(sums, results);
    } else if (order.kind == cells_clear) {
        for (int l = 0; l < CONFIG_T::layers; l++) {
            #pragma HLS UNROLL
            if (l == layer || order.data[0] == 1) {
                next[l] = 0;
                filled[l] = 0;
            }
        }
    } else if (order.kind == cells_current) {
        if (address < words) {
            currents[(half ? 0 : words) + int(address)] = current_T(order.data.to_int());
            address++;
        }
    } else {
        half = half != (order.data[0] == 1);
        address = 0;
    }
}

} // namespace hls4attn

#endif
