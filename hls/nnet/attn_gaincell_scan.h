// SPDX-License-Identifier: Apache-2.0
//
// Gain-cell attention, one cycle: a slot is scanned, and some codes of the tile before are made.
//
//      age -----> currents -------+------------------------------------------+
//                                 v                                          v
//      keys[slot] --> level --> select --( x )-- + over D --> pulse p --> p * current, one product a level
//                      D lanes             ^                                 |
//                              q of the head                                 v
//      values[slot] --> level -------------------------------------------> select --> + over the tile, D lanes
//                                                                                          |
//      y <-- + over tiles <-- code <-- round, limit, Z lanes a cycle <-- limit <-----------+
//
// Formula:  S_j = sum_d q_d G[age_j][k_jd],   p_j = limit( round( S_j m1 / 2^s1 ), 0, pulse_steps ), 0 if empty
//           A_td = limit( sum_{j in tile t} p_j G[age_j][v_jd], charge_limit )
//           y_d = sum_t limit( round( A_td m2 / 2^s2 ), code_limit )                          rounding half up
// Token t takes slot t mod M; nothing else moves.  G is an argument: a ROM, or a memory that is written at run time.
// The heads share all of it, one after the other; a tile's codes are made while the next one is scanned.
// Cycles a token:  heads * tile * ceil(n / tile) + C,   n slots filled,  Z = ceil(D / tile),  C = ceil(D / Z)
//                  (split tiles and a full window: tile * heads more)
// Multipliers: D of q and a current, one a level of a value, Z for codes, one for the pulse unless m1 is 1.
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315; the integers are this package's.

#ifndef HLS4ATTN_GAINCELL_SCAN_H_
#define HLS4ATTN_GAINCELL_SCAN_H_

#include "attn_gaincell_state.h"

namespace hls4attn {

// Where a token is.
template <typename CONFIG_T> struct gaincell_cursor {
    typedef gaincell_sizes<CONFIG_T> sizes;
    typedef typename sizes::slot_t slot_t;
    typedef typename integer<bit_length(CONFIG_T::heads) + 1>::type head_t;
    typedef typename integer<bit_length(CONFIG_T::tile) + 1>::type place_t;
    static const bool split = CONFIG_T::split_tiles != 0;
    static const int most = // iterations of a token
        CONFIG_T::heads * (CONFIG_T::window + (split ? CONFIG_T::tile : 0)) + sizes::passes;
    static_assert(CONFIG_T::heads * (1LL * CONFIG_T::window + CONFIG_T::tile) + sizes::passes < 1LL << 31,
                  "gaincell: a token of 2^31 iterations or more");
    slot_t newest, filled;                                           // of this token
    head_t head;
    slot_t slot, age;
    place_t place;                                                   // in the tile
    int base;                                                        // of the head's slots
    int table;                                                       // first row of the table in use
    slot_t origin;                                                   // first slot of the newest one's tile
    bool behind, older;                                              // of split tiles: behind the newest; second part
    typename integer<bit_length(sizes::passes) + 1>::type pass;      // of the tile whose codes are made
    head_t made;                                                     // its head
    bool first, last;                                                // whether it is the head's first, last one

    // A token comes: it gets the next slot.
    void enter(slot_t &next_slot, slot_t &filled_slots) {
        #pragma HLS INLINE
        newest = next_slot;
        next_slot = newest == CONFIG_T::window - 1 ? slot_t(0) : slot_t(newest + 1);
        if (filled_slots != CONFIG_T::window) {
            filled_slots++;
        }
        filled = filled_slots;
        base = table = 0;
        head = made = 0;
        pass = sizes::passes;
        first = last = false;
        origin = 0;
        start();
    }
    void start() { // of a head
        #pragma HLS INLINE
        slot = place = 0;
        age = newest;
        behind = older = false;
    }

    bool scans() const { return head != CONFIG_T::heads; }
    bool adds() const { return pass != sizes::passes; }
    bool writes() const { return slot == newest; }
    bool sees() const { return slot < filled && (!split || (older ? slot > newest : !behind)); }
    bool tile_ends() const { return place == CONFIG_T::tile - 1; }
    bool round_ends() const { return tile_ends() && slot + 1 >= filled; }
    bool head_ends() const {
        return split && filled == CONFIG_T::window ? older && tile_ends() : round_ends();
    }

    // Steps; false at the end of the token.
    bool next() {
        #pragma HLS INLINE
        if (!scans() && last && pass == sizes::passes - 1) {
            return false;
        }
        if (adds()) {
            pass++;
        }
        if (!scans()) {
            return true;
        }
        if (tile_ends()) {
            pass = 0;
            made = head;
            first = slot < CONFIG_T::tile && !older;
            last = head_ends();
        }
        if (split && writes()) {
            origin = slot - place;
        }
        if (head_ends()) {
            head++;
            base += CONFIG_T::window;
            start();
        } else if (split && round_ends()) { // once more, the older tokens of the newest one's tile
            slot = origin;
            age = newest - origin;
            place = 0;
            older = true;
        } else {
            behind = split && !tile_ends() && (behind || writes());
            place = tile_ends() ? place_t(0) : place_t(place + 1);
            slot++;
            age = age == 0 ? slot_t(CONFIG_T::window - 1) : slot_t(age - 1);
        }
        return true;
    }
};

// round( score m1 / 2^s1 ) in 0..pulse_steps
template <typename CONFIG_T, class score_T>
inline typename gaincell_sizes<CONFIG_T>::pulse_t pulse_of(score_T score) {
    #pragma HLS INLINE
    typedef gaincell_sizes<CONFIG_T> sizes;
    typedef typename integer<sizes::scaled_width>::type wide_t;
    const wide_t scaled = multiply<sizes::scaled_width>(score, wide_t(CONFIG_T::pulse_multiplier)) +
                          wide_t(sizes::pulse_half);
    const wide_t pulse = scaled >> CONFIG_T::pulse_shift;
    return typename sizes::pulse_t(pulse < 0 ? wide_t(0)
                                             : pulse > CONFIG_T::pulse_steps ? wide_t(CONFIG_T::pulse_steps) : pulse);
}

// round( charge m2 / 2^s2 ) in -code_limit..code_limit
template <typename CONFIG_T, class held_T> inline typename gaincell_sizes<CONFIG_T>::sum_t code_of(held_T charge) {
    #pragma HLS INLINE
    typedef gaincell_sizes<CONFIG_T> sizes;
    typedef typename integer<sizes::rounded_width>::type wide_t;
    static const int limit = CONFIG_T::code_limit;
    const wide_t scaled = multiply<sizes::rounded_width>(charge, wide_t(CONFIG_T::code_multiplier)) +
                          wide_t(sizes::code_half);
    const wide_t code = scaled >> CONFIG_T::code_shift;
    return typename sizes::sum_t(code < -limit ? wide_t(-limit) : code > limit ? wide_t(limit) : code);
}

// One slot.  The newest one is written and used at once, so that its memory need not be read back.
template <typename CONFIG_T, class current_T, int CURRENTS>
inline void scan_slot(typename gaincell_sizes<CONFIG_T>::key_memory &keys,
                      typename gaincell_sizes<CONFIG_T>::value_memory &values,
                      const current_T (&currents)[CURRENTS], const typename gaincell_sizes<CONFIG_T>::q_token &q,
                      const typename gaincell_sizes<CONFIG_T>::k_token &k,
                      const typename gaincell_sizes<CONFIG_T>::v_token &v, const gaincell_cursor<CONFIG_T> &at,
                      typename gaincell_sizes<CONFIG_T>::tile_charges &acc,
                      typename gaincell_sizes<CONFIG_T>::held_charges &held) {
    #pragma HLS INLINE
    typedef gaincell_sizes<CONFIG_T> sizes;
    static_assert(CURRENTS == CONFIG_T::tables * CONFIG_T::window * sizes::entries,
                  "gaincell: one row of currents for each age");
    const int slot = at.base + int(at.slot);
    typename sizes::k_code key[sizes::D];
    #pragma HLS ARRAY_PARTITION variable=key complete
    typename sizes::v_code value[sizes::D];
    #pragma HLS ARRAY_PARTITION variable=value complete
    for (int d = 0; d < sizes::D; d++) {
        #pragma HLS UNROLL
        key[d] = keys[slot][d];
        value[d] = values[slot][d];
    }
    if (at.writes()) {
        for (int d = 0; d < sizes::D; d++) {
            #pragma HLS UNROLL
            keys[slot][d] = key[d] = k[at.head][d];
            values[slot][d] = value[d] = v[at.head][d];
        }
    }
    if (at.place == 0) {
        for (int d = 0; d < sizes::D; d++) {
            #pragma HLS UNROLL
            acc[d] = 0;
        }
    }
    if (at.sees()) {
        typename sizes::current_t current[sizes::entries];
        #pragma HLS ARRAY_PARTITION variable=current complete
        const int row = (CONFIG_T::tables > 1 ? at.table : 0) + int(at.age);
        for (int c = 0; c < sizes::entries; c++) {
            #pragma HLS UNROLL
            current[c] = entry<CONFIG_T::current_width>(currents[row * sizes::entries + c]);
        }
        typename sizes::score_t score = 0;
        for (int d = 0; d < sizes::D; d++) {
            #pragma HLS UNROLL
            score += multiply<sizes::score_width>(current[key[d]], q[at.head][d]);
        }
        const typename sizes::pulse_t pulse = pulse_of<CONFIG_T>(score);
        typename sizes::product_t product[CONFIG_T::v_levels];
        #pragma HLS ARRAY_PARTITION variable=product complete
        for (int c = 0; c < CONFIG_T::v_levels; c++) {
            #pragma HLS UNROLL
            product[c] = multiply<sizes::product_width>(pulse, current[sizes::first_value + c]);
        }
        for (int d = 0; d < sizes::D; d++) {
            #pragma HLS UNROLL
            acc[d] += product[value[d]];
        }
    }
    if (at.tile_ends()) {
        for (int d = 0; d < sizes::D; d++) {
            #pragma HLS UNROLL
            const typename sizes::charge_t charge = acc[d], top = sizes::held;
            held[d / sizes::lanes][d % sizes::lanes] =
                typename sizes::held_t(charge > top ? top : charge < -top ? typename sizes::charge_t(-top) : charge);
        }
    }
}

// Codes of Z lanes of the tile before, added up; true if that completes the lanes' results.
template <typename CONFIG_T>
inline bool add_codes(const gaincell_cursor<CONFIG_T> &at,
                      const typename gaincell_sizes<CONFIG_T>::held_charges &held,
                      typename gaincell_sizes<CONFIG_T>::code_sums &sums) {
    #pragma HLS INLINE
    typedef gaincell_sizes<CONFIG_T> sizes;
    if (!at.adds()) {
        return false;
    }
    for (int z = 0; z < sizes::lanes; z++) {
        #pragma HLS UNROLL
        const typename sizes::sum_t code = code_of<CONFIG_T>(held[at.pass][z]);
        sums[at.pass][z] = at.first ? code : typename sizes::sum_t(sums[at.pass][z] + code);
    }
    return at.last;
}

} // namespace hls4attn

#endif
