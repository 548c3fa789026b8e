// SPDX-License-Identifier: Apache-2.0
//
// Integer codes of fixed-point values, and the integers that carry them.
//
//      ap_[u]fixed<W, I>  --raw()-->  integer<W'>  --exact arithmetic-->  integer<W''>  --requantise()-->  ap_[u]fixed
//                                     (W' = W, or W + 1 if unsigned)                     the only rounding
//
// A value is code * 2^-frac.  Kernels compute on codes in signed integers that are wide enough by proof (the
// configuration carries the bounds, static_assert checks them), so nothing is lost before requantise().
//
// integer<W> is ap_int<W> in synthesis.  In C simulation it is the native int that holds W bits: the same values,
// an order of magnitude faster.  HLS4ATTN_EXACT_WIDTHS selects ap_int in C simulation too.

#ifndef HLS4ATTN_COMMON_H_
#define HLS4ATTN_COMMON_H_

#include "ap_fixed.h"
#include "ap_int.h"

// Every generated call is followed by a tap.  A tracing simulation records the codes there; otherwise it is empty.
#ifdef HLS4ATTN_TRACE
#define HLS4ATTN_TAP(index, array, size) hls4attn::record(index, array, size);
#else
#define HLS4ATTN_TAP(index, array, size)
#endif

namespace hls4attn {

// ---- formats of hls types ------------------------------------------------------------------------------------------

template <ap_q_mode Q, ap_o_mode O> struct known_modes {
    static_assert(Q == AP_RND_CONV || Q == AP_RND || Q == AP_TRN, "rounding: AP_RND_CONV, AP_RND or AP_TRN");
    static_assert(O == AP_SAT || O == AP_SAT_SYM || O == AP_WRAP, "overflow: AP_SAT, AP_SAT_SYM or AP_WRAP");
    static const bool value = true;
};

template <class T> struct format_of;

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> struct format_of<ap_fixed<W, I, Q, O, N> > {
    static const int width = W;
    static const int frac = W - I;
    static const bool is_signed = true;
    static const int carrier = W; // signed bits that hold any code
    static const ap_q_mode rounding = Q;
    static const ap_o_mode overflow = O;
    static_assert(known_modes<Q, O>::value, "see above");
};

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> struct format_of<ap_ufixed<W, I, Q, O, N> > {
    static const int width = W;
    static const int frac = W - I;
    static const bool is_signed = false;
    static const int carrier = W + 1;
    static const ap_q_mode rounding = Q;
    static const ap_o_mode overflow = O;
    static_assert(known_modes<Q, O>::value, "see above");
};

// ---- carriers ------------------------------------------------------------------------------------------------------

#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)

template <int W> struct integer {
    static_assert(W >= 1 && W <= 64, "integer: a carrier has 1 to 64 bits");
    typedef ap_int<W> type;
};

#else

template <bool SMALL> struct native_integer {
    typedef int type;
};
template <> struct native_integer<false> {
    typedef long long type;
};
template <int W> struct integer {
    static_assert(W >= 1 && W <= 64, "integer: a carrier has 1 to 64 bits");
    typedef typename native_integer<(W <= 32)>::type type;
};

#endif

// A ROM entry at its true width: storage is the next larger C type, the multiplier is not.
template <int W, class rom_T> inline typename integer<W>::type entry(rom_T value) {
    #pragma HLS INLINE
    return typename integer<W>::type(value);
}

// a * b in R bits; R covers the product, so widening first changes nothing in C simulation.
template <int R, class a_T, class b_T> inline typename integer<R>::type multiply(a_T a, b_T b) {
    #pragma HLS INLINE
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    return typename integer<R>::type(a * b);
#else
    return typename integer<R>::type(a) * typename integer<R>::type(b);
#endif
}

// value * 2^SHIFT in R bits.
template <int R, int SHIFT, class value_T> inline typename integer<R>::type shift_up(value_T value) {
    #pragma HLS INLINE
    static_assert(SHIFT >= 0 && SHIFT < 63, "shift_up: 0 to 62 bits");
    typename integer<R>::type wide = value;
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    return typename integer<R>::type(wide << SHIFT);
#else
    return typename integer<R>::type(wide * (1LL << SHIFT)); // a left shift of a negative int is undefined
#endif
}

// value * 2^places in R bits, for a number of places known only at run time.
template <int R, class value_T> inline typename integer<R>::type shift_left(value_T value, int places) {
    #pragma HLS INLINE
    typename integer<R>::type wide = value;
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    return typename integer<R>::type(wide << places);
#else
    return typename integer<R>::type(wide * (1LL << places)); // a left shift of a negative int is undefined
#endif
}

// floor(value / 2^places) of a W-bit value; shifting further than W - 1 bits leaves its sign, as W - 1 bits do.
template <int W, class value_T> inline typename integer<W>::type shift_down(value_T value, int places) {
    #pragma HLS INLINE
    const typename integer<W>::type wide = value;
    return typename integer<W>::type(wide >> (places < W - 1 ? places : W - 1));
}

// Bits of n, constants only; 0 has none.
constexpr int bit_length(int n) {
    return n > 0 ? 1 + bit_length(n / 2) : 0;
}

constexpr int larger(int a, int b) {
    return a > b ? a : b;
}

constexpr int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

// Position of the leading one of 1 <= value < 2^(W-1).
template <int W, class value_T> inline int leading_one_position(value_T value) {
    #pragma HLS INLINE
    const typename integer<W>::type wide = value;
    int position = 0;
    for (int n = 1; n < W - 1; n++) {
        #pragma HLS UNROLL
        if (typename integer<W>::type(wide >> n) != 0) {
            position = n;
        }
    }
    return position;
}

// Whether a signed carrier of WIDTH bits holds LOW..HIGH.
template <int WIDTH, long long LOW, long long HIGH> struct covers {
    static const long long top = (1LL << (WIDTH - 2)) - 1 + (1LL << (WIDTH - 2)); // 2^(WIDTH-1) - 1, no overflow
    static const bool value = WIDTH >= 2 && LOW >= -top - 1 && HIGH <= top;
};

// ---- between types and codes ---------------------------------------------------------------------------------------

// A range of bits costs C simulation dearly as ap_int, little as a native integer; setBits is public, if undocumented,
// in all C simulation headers.

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
inline typename integer<W>::type raw(const ap_fixed<W, I, Q, O, N> &x) {
    #pragma HLS INLINE
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    ap_int<W> bits = x.range(W - 1, 0);
    return bits;
#else
    return typename integer<W>::type((x.range(W - 1, 0).to_uint64() ^ (1ULL << (W - 1))) - (1ULL << (W - 1)));
#endif
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
inline typename integer<W + 1>::type raw(const ap_ufixed<W, I, Q, O, N> &x) {
    #pragma HLS INLINE
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    ap_uint<W> bits = x.range(W - 1, 0);
    return bits;
#else
    return typename integer<W + 1>::type(x.range(W - 1, 0).to_uint64());
#endif
}

// The value of the given type whose code is `code`; the code is in range.
template <class fixed_T, class code_T> inline fixed_T from_raw(code_T code) {
    #pragma HLS INLINE
    fixed_T x;
#if defined(__SYNTHESIS__) || defined(HLS4ATTN_EXACT_WIDTHS)
    x.range(format_of<fixed_T>::width - 1, 0) = ap_int<format_of<fixed_T>::width>(code);
#else
    x.setBits((unsigned long long)(code));
#endif
    return x;
}

#ifdef HLS4ATTN_TRACE
// Simulation only: where this thread wants the codes of each call's result.
inline int *&record_target(int index) {
    static thread_local int *targets[HLS4ATTN_TRACE];
    return targets[index];
}

template <class data_T> void record(int index, const data_T *data, int size) {
    int *target = record_target(index);
    for (int i = 0; i < size; i++) {
        target[i] = int(raw(data[i]));
    }
}
#endif

} // namespace hls4attn

#endif
