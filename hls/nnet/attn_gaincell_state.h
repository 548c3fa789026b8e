// SPDX-License-Identifier: Apache-2.0
//
// Gain-cell attention: configuration, the widths that follow from it, and what heads remember.
//
//      slot            0       1      ...    M-1                  token t takes slot t mod M
//      keys      [ D codes | D codes | ... | D codes ]   a head, as many words for the next one
//      values    [ D codes | D codes | ... | D codes ]
//                              ^ next
//
// Formula:  a bound of every result from the numbers of levels and the table's width; its signed width from the bound
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315.

#ifndef HLS4ATTN_GAINCELL_STATE_H_
#define HLS4ATTN_GAINCELL_STATE_H_

#include "attn_tail.h"

namespace hls4attn {

struct gaincell_config : tail_config {
    static const int rows = 1;                 // tokens of the longest sequence
    static const int heads = 1;
    static const int layers = 1;               // windows, one behind the other in one memory
    static const int tables = 1;               // tables of currents, likewise
    static const int head_dim = 1;             // D
    static const int window = 1;               // M: slots of a head
    static const int tile = 1;                 // slots that are limited and rounded together; divides the window
    static const int split_tiles = 0;          // whether a tile's older tokens are apart from those of this round
    static const int q_levels = 2, k_levels = 2, v_levels = 2;
    static const int current_width = 2;        // signed bits of a current
    static const int pulse_multiplier = 1, pulse_shift = 0, pulse_steps = 1;
    static const long long charge_limit = 1;
    static const int code_multiplier = 1, code_shift = 0, code_limit = 1;
    static const int q_head = 1, q_row = 1, q_inner = 1; // strides in elements
    static const int k_head = 1, k_row = 1, k_inner = 1;
    static const int v_head = 1, v_row = 1, v_inner = 1;
    static const int y_head = 1, y_row = 1, y_inner = 1;
    static const int in_width = 1, in_frac = 0;   // format of q
    static const int in2_width = 1, in2_frac = 0; // of k
    static const int in3_width = 1, in3_frac = 0; // of v
    static const bool in_signed = false, in2_signed = false, in3_signed = false;
    static const int latency = 1;
};

// Bits of a signed integer that holds -bound..bound.
constexpr int signed_width(long long bound) {
    return bound > 0 ? 1 + signed_width(bound / 2) : 1;
}

// A stored level.
template <int LEVELS> struct level_code {
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    typedef ap_uint<bit_length(LEVELS - 1)> type;
#else
    typedef unsigned char type;
#endif
    static_assert(LEVELS >= 2 && LEVELS <= 256, "gaincell: 2 to 256 levels");
};

// Every width follows from the largest magnitude that the level counts and the table's width allow.
template <typename CONFIG_T> struct gaincell_sizes {
    static const int D = CONFIG_T::head_dim;
    static const int channels = CONFIG_T::heads * D;
    static const int slots = CONFIG_T::layers * CONFIG_T::heads * CONFIG_T::window;
    static const bool shared = CONFIG_T::k_levels == CONFIG_T::v_levels; // one current a level for keys and values
    static const int entries = CONFIG_T::k_levels + (shared ? 0 : CONFIG_T::v_levels); // of a row of the table
    static const int first_value = shared ? 0 : CONFIG_T::k_levels;
    static const int lanes = ceil_div(D, CONFIG_T::tile);                // Z
    static const int passes = ceil_div(D, lanes);                        // C
    static const long long current = 1LL << (CONFIG_T::current_width - 1);
    static const long long score = (CONFIG_T::q_levels - 1) * current * D;
    static const long long pulse_half = CONFIG_T::pulse_shift > 0 ? 1LL << (CONFIG_T::pulse_shift - 1) : 0;
    static const long long product = CONFIG_T::pulse_steps * current;
    static const long long charge = CONFIG_T::tile * product;
    static const long long held = charge < CONFIG_T::charge_limit ? charge : CONFIG_T::charge_limit;
    static const long long code_half = CONFIG_T::code_shift > 0 ? 1LL << (CONFIG_T::code_shift - 1) : 0;
    static const long long total =
        1LL * CONFIG_T::code_limit * (CONFIG_T::window / CONFIG_T::tile + (CONFIG_T::split_tiles ? 1 : 0));
    static const int product_width = signed_width(product), charge_width = signed_width(charge);
    static const int score_width = signed_width(score);
    static const int scaled_width = signed_width(score * CONFIG_T::pulse_multiplier + pulse_half);
    static const int rounded_width = signed_width(held * CONFIG_T::code_multiplier + code_half);
    typedef typename integer<CONFIG_T::current_width>::type current_t;
    typedef typename integer<score_width>::type score_t;
    typedef typename integer<signed_width(CONFIG_T::pulse_steps)>::type pulse_t;
    typedef typename integer<product_width>::type product_t;
    typedef typename integer<charge_width>::type charge_t;
    typedef typename integer<signed_width(held)>::type held_t;
    typedef typename integer<signed_width(total)>::type sum_t;
    typedef typename level_code<CONFIG_T::q_levels>::type q_code;
    typedef typename level_code<CONFIG_T::k_levels>::type k_code;
    typedef typename level_code<CONFIG_T::v_levels>::type v_code;
    typedef typename integer<bit_length(CONFIG_T::window) + 1>::type slot_t;
    typedef k_code key_memory[slots][D];
    typedef v_code value_memory[slots][D];
    typedef q_code q_token[CONFIG_T::heads][D]; // one token, all heads
    typedef k_code k_token[CONFIG_T::heads][D];
    typedef v_code v_token[CONFIG_T::heads][D];
    typedef charge_t tile_charges[D];        // of the tile that is scanned
    typedef held_t held_charges[passes][lanes]; // of the tile before
    typedef sum_t code_sums[passes][lanes];     // of the tiles before
    static_assert(CONFIG_T::window % CONFIG_T::tile == 0, "gaincell: whole tiles");
    static_assert(CONFIG_T::current_width >= 2 && CONFIG_T::current_width <= 32, "gaincell: currents of 2 to 32 bits");
    static_assert(CONFIG_T::pulse_shift >= 0 && CONFIG_T::pulse_shift < scaled_width, "gaincell: nothing is left");
    static_assert(CONFIG_T::code_shift >= 0 && CONFIG_T::code_shift < rounded_width, "gaincell: nothing is left");
    static_assert(passes <= CONFIG_T::tile, "gaincell: a tile's codes are made before the next tile ends");
};

// What heads remember from token to token.  The caller owns it; zero in every byte it is an empty window.
template <typename CONFIG_T> struct gaincell_state {
    typedef gaincell_sizes<CONFIG_T> sizes;
    typename sizes::key_memory keys;
    typename sizes::value_memory values;
    typename sizes::slot_t next;   // slot of the next token
    typename sizes::slot_t filled; // slots that hold a token
};

// An empty window.
template <typename CONFIG_T> inline void gaincell_clear(gaincell_state<CONFIG_T> &state) {
    #pragma HLS INLINE
    state.next = 0;
    state.filled = 0;
}

// A code beyond the last level means the last level.
template <int LEVELS, class code_T> inline typename level_code<LEVELS>::type level(code_T code) {
    #pragma HLS INLINE
    return typename level_code<LEVELS>::type(code > LEVELS - 1 ? code_T(LEVELS - 1) : code);
}

} // namespace hls4attn

#endif
