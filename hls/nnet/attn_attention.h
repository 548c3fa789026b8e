// SPDX-License-Identifier: Apache-2.0
//
// Streaming self-attention: configuration, words and loop positions that all its forms share.
//
//      k --> load_rows --> keys [L][words] ------+
//                                                v
//      q ----------------------------------> score_slices --FIFO--> score function --FIFO--> weigh_slices --> y
//                                                                                                 ^
//      v --> load_rows --> values [L][words] -----------------------------------------------------+
//
// Formula:  s_ij = Q_s( tail( q_i k_j ) ),   p_ij = score function of row i,   y_i = Q_y( tail( sum_j p_ij v_j ) ),
//           j < length, and j <= i if causal.  A result for `length` tokens does not depend on the longest length.
// Every process is one loop over rows, groups of P heads, slices of L keys and (products only) chunks of M elements.
// Cycles a sequence:  scores, context:  sum over rows of G * slices(i) * R,   score function:  the same without R,
//                     loading K or V:   length * G * R,
//                     G = heads / P,  R = ceil(head_dim / M),  slices(i) = ceil(length / L), causal ceil((i + 1) / L)
// Multipliers: P * L * M in each of score_slices and weigh_slices.
// Source: scaled dot-product attention, arXiv 1706.03762, equation 1, in streaming order: one query row after the
// other against all keys, so that q enters and y leaves row by row.

#ifndef HLS4ATTN_ATTENTION_H_
#define HLS4ATTN_ATTENTION_H_

#include "attn_lanes.h"

namespace hls4attn {

// The inherited tail is the context's; score_* is that of Q K^T, function_* that of the score function.
struct attention_config : tail_config {
    static const int rows = 1;           // tokens of the longest sequence
    static const int heads = 1;
    static const int head_dim = 1;
    static const int lanes = 1;          // L: keys an iteration
    static const int parallel_heads = 1; // P: heads an iteration
    static const int width = 1;          // M: elements of a head an iteration
    static const bool causal = false;
    static const int latency = 1;
    static const int q_width = 8, q_frac = 0;
    static const bool q_signed = true;
    static const int k_width = 8, k_frac = 0;
    static const bool k_signed = true;
    static const int v_width = 8, v_frac = 0;
    static const bool v_signed = true;
    static const int in_width = 8, in_frac = 0, in_rounding = 0, in_overflow = 0; // scores
    static const bool in_signed = true;
    static const int p_width = 8, p_frac = 0, p_rounding = 0, p_overflow = 0;     // probabilities
    static const bool p_signed = false;
    static const int score_core_width = 32, score_scale_by = by_nothing, score_scale_width = 2;
    static const long long score_core_min = 0, score_core_max = 0;
    static const int score_scaled_width = 32, score_offset_by = by_nothing, score_offset_width = 2;
    static const int score_offset_shift = 0, score_sum_width = 32, score_sum_frac = 0;
    static const bool score_relu = false;
    static const int function_core_width = 32, function_sum_width = 32, function_sum_frac = 0;
    static const long long function_core_min = 0, function_core_max = 0;
};

// The tail of Q K^T under the names that tail_sum() reads.
template <typename CONFIG_T> struct score_tail {
    static const int core_width = CONFIG_T::score_core_width;
    static const long long core_min = CONFIG_T::score_core_min, core_max = CONFIG_T::score_core_max;
    static const int scale_by = CONFIG_T::score_scale_by, scale_width = CONFIG_T::score_scale_width;
    static const int scaled_width = CONFIG_T::score_scaled_width;
    static const int offset_by = CONFIG_T::score_offset_by, offset_width = CONFIG_T::score_offset_width;
    static const int offset_shift = CONFIG_T::score_offset_shift;
    static const int sum_width = CONFIG_T::score_sum_width, sum_frac = CONFIG_T::score_sum_frac;
    static const bool relu = CONFIG_T::score_relu;
};

// The score function's own members under the names that its arithmetic reads.
template <typename CONFIG_T> struct function_of : CONFIG_T {
    static const int cols = CONFIG_T::rows;
    static const int core_width = CONFIG_T::function_core_width;
    static const long long core_min = CONFIG_T::function_core_min, core_max = CONFIG_T::function_core_max;
    static const int sum_width = CONFIG_T::function_sum_width, sum_frac = CONFIG_T::function_sum_frac;
};

// A type from numbers: rounding half_even, half_up, floor; overflow saturate, saturate_symmetric, wrap.
template <int W, int FRAC, bool SIGNED, int ROUNDING, int OVERFLOW> struct fixed_of {
    static const ap_q_mode rounding = ROUNDING == 0 ? AP_RND_CONV : ROUNDING == 1 ? AP_RND : AP_TRN;
    static const ap_o_mode overflow = OVERFLOW == 0 ? AP_SAT : OVERFLOW == 1 ? AP_SAT_SYM : AP_WRAP;
    typedef ap_fixed<W, W - FRAC, rounding, overflow> type;
};
template <int W, int FRAC, int ROUNDING, int OVERFLOW> struct fixed_of<W, FRAC, false, ROUNDING, OVERFLOW> {
    static const ap_q_mode rounding = fixed_of<W, FRAC, true, ROUNDING, OVERFLOW>::rounding;
    static const ap_o_mode overflow = OVERFLOW == 2 ? AP_WRAP : AP_SAT; // there is no lowest code to give up
    typedef ap_ufixed<W, W - FRAC, rounding, overflow> type;
};

// What a bank or a FIFO holds: integer<W>, in C simulation as small as vector multipliers like it.
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
template <int W> struct stored : integer<W> {};
#else
template <int W, bool SMALL = (W <= 16)> struct stored : integer<W> {};
template <int W> struct stored<W, true> {
    typedef short type;
};
#endif

// One value a lane.
template <class T, int N> struct word {
    T lane[N];
};

template <typename CONFIG_T> struct attention_sizes {
    static const int P = CONFIG_T::parallel_heads, L = CONFIG_T::lanes, M = CONFIG_T::width;
    static const int groups = CONFIG_T::heads / P;
    static const int chunks = ceil_div(CONFIG_T::head_dim, M);
    static const int slices = ceil_div(CONFIG_T::rows, L);
    static const int channels = CONFIG_T::heads * CONFIG_T::head_dim;
    static const int scores = P * L;              // of a FIFO word
    static const int elements = P * M;            // of a bank word
    static const int row_words = groups * chunks; // bank words that a row of K or V takes
    static const int words = slices * row_words;  // of a lane's bank
    // Memories of the tails' constants: L keys a cycle; M elements, the same for all heads.
    static const int score_scale_banks = lane_banks<CONFIG_T::score_scale_by, L, 1, CONFIG_T::rows>::value;
    static const int score_offset_banks = lane_banks<CONFIG_T::score_offset_by, L, 1, CONFIG_T::rows>::value;
    static const int context_scale_banks = lane_banks<CONFIG_T::scale_by, M, 1, CONFIG_T::head_dim>::value;
    static const int context_offset_banks = lane_banks<CONFIG_T::offset_by, M, 1, CONFIG_T::head_dim>::value;
    typedef typename fixed_of<CONFIG_T::in_width, CONFIG_T::in_frac, CONFIG_T::in_signed, CONFIG_T::in_rounding,
                              CONFIG_T::in_overflow>::type score_t;
    typedef typename fixed_of<CONFIG_T::p_width, CONFIG_T::p_frac, CONFIG_T::p_signed, CONFIG_T::p_rounding,
                              CONFIG_T::p_overflow>::type p_t;
    typedef typename stored<CONFIG_T::q_width + !CONFIG_T::q_signed>::type q_code;
    typedef typename stored<CONFIG_T::k_width + !CONFIG_T::k_signed>::type k_code;
    typedef typename stored<CONFIG_T::v_width + !CONFIG_T::v_signed>::type v_code;
    typedef k_code key_bank[L][words][elements];
    typedef v_code value_bank[L][words][elements];
    typedef typename stored<format_of<score_t>::carrier>::type score_code;
    typedef word<score_code, scores> score_word;
    typedef word<typename stored<format_of<p_t>::carrier>::type, scores> p_word;
    typedef word<score_code, P> top_word; // a maximum a head
};

template <typename CONFIG_T, class q_T, class k_T, class v_T, class res_T> struct attention_legal {
    typedef attention_sizes<CONFIG_T> sizes;
    static_assert(same_row<q_T, sizes::channels, CONFIG_T::q_width, CONFIG_T::q_frac, CONFIG_T::q_signed>::value,
                  "attention: the rows of Q are not the ones the model has");
    static_assert(same_row<k_T, sizes::channels, CONFIG_T::k_width, CONFIG_T::k_frac, CONFIG_T::k_signed>::value,
                  "attention: the rows of K are not the ones the model has");
    static_assert(same_row<v_T, sizes::channels, CONFIG_T::v_width, CONFIG_T::v_frac, CONFIG_T::v_signed>::value,
                  "attention: the rows of V are not the ones the model has");
    static_assert(int(res_T::size) == sizes::channels, "attention: a result row has one context a head");
    static_assert(CONFIG_T::heads % sizes::P == 0, "attention: parallel_heads divides heads");
    static_assert(sizes::M >= 1 && sizes::M <= CONFIG_T::head_dim, "attention: width is 1 to head_dim");
    static_assert(sizes::L >= 1 && sizes::L <= CONFIG_T::rows, "attention: lanes is 1 to rows");
    static_assert(CONFIG_T::score_scale_by != by_element && CONFIG_T::score_offset_by != by_element &&
                      CONFIG_T::scale_by != by_element && CONFIG_T::offset_by != by_element,
                  "attention: no constants for each element");
    static const bool value = true;
};

// Where a process is.  The counters go on across rows, so that its pipeline never drains.
template <typename CONFIG_T, int CHUNKS> struct position {
    typedef attention_sizes<CONFIG_T> sizes;
    typedef typename integer<bit_length(CONFIG_T::rows) + 1>::type row_t;
    static const int most = CONFIG_T::rows * sizes::groups * sizes::slices * CHUNKS; // iterations
    static_assert(1LL * CONFIG_T::rows * sizes::groups * sizes::slices * CHUNKS < 1LL << 31,
                  "attention: a sequence of 2^31 iterations or more");
    const row_t rows; // of this sequence
    row_t row;
    typename integer<bit_length(sizes::groups) + 1>::type group;
    typename integer<bit_length(sizes::slices) + 1>::type slice;
    typename integer<bit_length(CONFIG_T::rows + sizes::L) + 1>::type first; // key of the slice
    typename integer<bit_length(CHUNKS) + 1>::type chunk;

    explicit position(int length) : rows(length), row(0), group(0), slice(0), first(0), chunk(0) {}

    int key(int lane) const { return int(first) + lane; }
    int last_key() const { return CONFIG_T::causal ? int(row) : int(rows) - 1; }
    bool sees(int lane) const { return key(lane) <= last_key(); }
    int head(int p) const { return int(group) * sizes::P + p; }
    int part() const { return int(group) * sizes::chunks + int(chunk); }        // of a row's words
    int bank_word() const { return int(slice) * sizes::row_words + part(); }    // in each lane
    bool more() const { return row != rows; }
    bool slice_ends() const { return chunk == CHUNKS - 1; }
    bool unit_starts() const { return slice == 0; } // a unit: one row, one group
    bool unit_ends() const { return key(sizes::L - 1) >= last_key(); }
    bool row_starts() const { return chunk == 0 && slice == 0 && group == 0; }
    bool row_ends() const { return slice_ends() && unit_ends() && group == sizes::groups - 1; }

    void step() {
        #pragma HLS INLINE
        if (!slice_ends()) {
            chunk++;
            return;
        }
        chunk = 0;
        if (!unit_ends()) {
            slice++;
            first += sizes::L;
            return;
        }
        slice = 0;
        first = 0;
        if (group != sizes::groups - 1) {
            group++;
            return;
        }
        group = 0;
        row++;
    }
};

// The codes of a row as words of P*M: group by group, chunk by chunk, with zeros beyond a head's end.
template <typename CONFIG_T, class row_T, class code_T>
inline void words_of(const row_T &row,
                     code_T (&words)[attention_sizes<CONFIG_T>::row_words][attention_sizes<CONFIG_T>::elements]) {
    #pragma HLS INLINE
    typedef attention_sizes<CONFIG_T> sizes;
    for (int w = 0; w < sizes::row_words; w++) {
        #pragma HLS UNROLL
        for (int e = 0; e < sizes::elements; e++) {
            #pragma HLS UNROLL
            const int head = w / sizes::chunks * sizes::P + e / sizes::M;
            const int n = w % sizes::chunks * sizes::M + e % sizes::M;
            words[w][e] = 0;
            if (n < CONFIG_T::head_dim) {
                words[w][e] = raw(row[head * CONFIG_T::head_dim + n]);
            }
        }
    }
}

// And the row of such words.
template <typename CONFIG_T, class row_T>
inline row_T row_of(const typename row_T::value_type (&words)[attention_sizes<CONFIG_T>::row_words]
                                                             [attention_sizes<CONFIG_T>::elements]) {
    #pragma HLS INLINE
    typedef attention_sizes<CONFIG_T> sizes;
    row_T row;
    for (int w = 0; w < sizes::row_words; w++) {
        #pragma HLS UNROLL
        for (int e = 0; e < sizes::elements; e++) {
            #pragma HLS UNROLL
            const int head = w / sizes::chunks * sizes::P + e / sizes::M;
            const int n = w % sizes::chunks * sizes::M + e % sizes::M;
            if (n < CONFIG_T::head_dim) {
                row[head * CONFIG_T::head_dim + n] = words[w][e];
            }
        }
    }
    return row;
}

} // namespace hls4attn

#endif
