// SPDX-License-Identifier: Apache-2.0
//
// The only rounding: an exact code in the format of a fixed-point type, by its rounding and overflow modes.
//
//      code --> / 2^dropped --> round --> limit, or keep the low bits --> code of res_T --from_raw()--> res_T
//      WIDTH                    WIDTH                                     carrier
//
// Formula:  y = overflow( round( code * 2^-(FRAC - frac of res_T) ) ); to the left the shift is exact
// The arithmetic is that of models.formats.Fixed.requantise, on integers.  Conversions of ap_fixed would be slow in
// C simulation, and wrong where more bits are dropped than the source has.
// Source: IEEE 754 names the roundings: half to even (AP_RND_CONV), half up (AP_RND), down (AP_TRN).

#ifndef HLS4ATTN_REQUANTISE_H_
#define HLS4ATTN_REQUANTISE_H_

#include "attn_common.h"

namespace hls4attn {

// code / 2^DROPPED as an integer: half to even (AP_RND_CONV), half up (AP_RND) or floor (AP_TRN); an increment of the
// floor, so that nothing grows.  A code is less than 2^(WIDTH-1) but for the most negative one, so more bits than it
// has leave nothing of it, or its sign.
template <ap_q_mode MODE, int WIDTH, int DROPPED, class code_T>
inline typename integer<WIDTH>::type round_off(code_T code) {
    #pragma HLS INLINE
    static_assert(WIDTH >= 2, "round_off: a signed code has two bits or more");
    typedef typename integer<WIDTH>::type code_t;
    static const int places = DROPPED < 1 ? 1 : DROPPED < WIDTH ? DROPPED : WIDTH - 1;
    const code_t exact = code;
    if (DROPPED <= 0) {
        return exact;
    }
    const code_t below = code_t(exact >> places);
    if (MODE == AP_TRN) {
        return below;
    }
    const bool half = code_t(exact >> (places - 1)) & 1;
    const bool more = (exact & code_t((1LL << (places - 1)) - 1)) != 0 || MODE == AP_RND || (below & 1) != 0;
    return DROPPED >= WIDTH ? code_t(0) : code_t(below + (half && more));
}

// code * 2^UP in the range of a type: limited, or its low bits.  UP is at most the type's width.
template <class res_T, int WIDTH, int UP, class code_T>
inline typename integer<format_of<res_T>::carrier>::type limit_code(code_T code) {
    #pragma HLS INLINE
    typedef format_of<res_T> format;
    typedef typename integer<format::carrier>::type result_t;
    static_assert(format::width <= 62, "requantise: results of 62 bits or less");
    static const long long top = (1LL << (format::width - format::is_signed)) - 1;
    static const long long bottom = !format::is_signed ? 0 : format::overflow == AP_SAT_SYM ? -top : -top - 1;
    if (format::overflow != AP_WRAP) {
        if (code > (top >> UP)) {
            return result_t(top);
        }
        if (code < -(-bottom >> UP)) {
            return result_t(bottom);
        }
        return shift_up<format::carrier, UP>(result_t(code));
    }
    static const int kept = format::width - UP; // low bits of the code that are still there
    static const long long sign = format::is_signed && kept > 0 ? 1LL << (kept > 0 ? kept - 1 : 0) : 0;
    typedef typename integer<larger(WIDTH, format::width + 1)>::type wide_t;
    const wide_t low = wide_t(code) & wide_t((1LL << kept) - 1);
    return shift_up<format::carrier, UP>(result_t((low ^ wide_t(sign)) - wide_t(sign)));
}

// A code of WIDTH signed bits, FRAC of them fraction bits, in the format of res_T: its rounding and its overflow.
template <class res_T, int WIDTH, int FRAC, class code_T>
inline typename integer<format_of<res_T>::carrier>::type requantise_code(code_T code) {
    #pragma HLS INLINE
    static const int dropped = FRAC - format_of<res_T>::frac;
    static const int up = dropped >= 0 ? 0 : -dropped < format_of<res_T>::width ? -dropped : format_of<res_T>::width;
    return limit_code<res_T, WIDTH, up>(round_off<format_of<res_T>::rounding, WIDTH, dropped>(code));
}

template <class res_T, int WIDTH, int FRAC, class code_T> inline res_T requantise(code_T code) {
    #pragma HLS INLINE
    return from_raw<res_T>(requantise_code<res_T, WIDTH, FRAC>(code));
}

} // namespace hls4attn

#endif
