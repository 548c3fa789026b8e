// SPDX-License-Identifier: Apache-2.0
//
// The tail that ends every kernel: constant multiply, constant add, ReLU, one requantisation.
//
//      exact result       scale ROM       offset ROM
//      of the kernel          |               |
//         ----------------> ( x ) --<<--> ( + ) --> max(.,0) --> round, limit --> result
//         core_width    scaled_width     sum_width     relu         res_T
//
// Formula:  y = Q( relu( core * scale + offset ) ),  each step optional, all but Q exact.
// Constants are integer codes, indexed by *_by: nothing, the whole tensor (scalar), the last axis (channel) or each
// element.  offset is already aligned to sum_frac; offset_shift aligns the other operand.
// Source: plain fixed-point arithmetic; batch normalisation, biases and position embeddings all take this form.

#ifndef HLS4ATTN_TAIL_H_
#define HLS4ATTN_TAIL_H_

#include "attn_requantise.h"

namespace hls4attn {

enum indexing { by_nothing = 0, by_scalar = 1, by_channel = 2, by_element = 3 };

static const signed char none[1] = {0}; // stands for a constant that a kernel does not have

// What a configuration must say about its tail; derive from it and override.
struct tail_config {
    static const int core_width = 32;       // signed bits of the kernel's exact result
    static const long long core_min = 0;    // and its bounds
    static const long long core_max = 0;
    static const int scale_by = by_nothing;
    static const int scale_width = 2;       // signed bits of a scale code
    static const int scaled_width = 32;     // signed bits after the multiply (core_width without one)
    static const int offset_by = by_nothing;
    static const int offset_width = 2;
    static const int offset_shift = 0;
    static const int sum_width = 32;        // signed bits of the exact value before requantisation
    static const int sum_frac = 0;          // and its fraction bits
    static const bool relu = false;
    static const int scale_banks = 1;       // memories a constant is spread over: one read each a cycle
    static const int offset_banks = 1;
    static const int reuse_factor = 1;      // cycles between two rows
};

template <int BY> inline int rom_index(int element, int channel) {
    #pragma HLS INLINE
    return BY == by_element ? element : BY == by_channel ? channel : 0;
}

// How many elements a kernel's result has, and how many of them along the last axis.
template <int ELEMENTS, int CHANNELS> struct tail_sizes {
    template <int BY> struct rom {
        static const int size = BY == by_element ? ELEMENTS : BY == by_channel ? CHANNELS : 1;
    };
};

template <class res_T, typename CONFIG_T, class sizes_T, class scale_T, int SCALES, class offset_T, int OFFSETS>
inline res_T finish(typename integer<CONFIG_T::core_width>::type core, int element, int channel,
                    const scale_T (&scale)[SCALES], const offset_T (&offset)[OFFSETS]) {
    #pragma HLS INLINE
    static_assert(SCALES == sizes_T::template rom<CONFIG_T::scale_by>::size, "the scale has the wrong size");
    static_assert(OFFSETS == sizes_T::template rom<CONFIG_T::offset_by>::size, "the offset has the wrong size");
    static_assert(covers<CONFIG_T::core_width, CONFIG_T::core_min, CONFIG_T::core_max>::value,
                  "the accumulator does not hold every possible sum");
    static_assert(CONFIG_T::scale_by != by_nothing || CONFIG_T::scaled_width == CONFIG_T::core_width,
                  "without a multiply scaled_width is core_width");
    static_assert(CONFIG_T::sum_width >= 2, "a signed sum has two bits or more");
    typename integer<CONFIG_T::scaled_width>::type scaled = core;
    if (CONFIG_T::scale_by != by_nothing) {
        scaled = multiply<CONFIG_T::scaled_width>(
            core, entry<CONFIG_T::scale_width>(scale[rom_index<CONFIG_T::scale_by>(element, channel)]));
    }
    typename integer<CONFIG_T::sum_width>::type sum = shift_up<CONFIG_T::sum_width, CONFIG_T::offset_shift>(scaled);
    if (CONFIG_T::offset_by != by_nothing) {
        sum += entry<CONFIG_T::offset_width>(offset[rom_index<CONFIG_T::offset_by>(element, channel)]);
    }
    if (CONFIG_T::relu && sum < 0) {
        sum = 0;
    }
    return requantise<res_T, CONFIG_T::sum_width, CONFIG_T::sum_frac>(sum);
}

// For kernels whose result has a format of its own: saturation into core_min..core_max.
template <typename CONFIG_T, class value_T>
inline typename integer<CONFIG_T::core_width>::type limit_core(value_T value) {
    #pragma HLS INLINE
    if (value < CONFIG_T::core_min) {
        return typename integer<CONFIG_T::core_width>::type(CONFIG_T::core_min);
    }
    if (value > CONFIG_T::core_max) {
        return typename integer<CONFIG_T::core_width>::type(CONFIG_T::core_max);
    }
    return typename integer<CONFIG_T::core_width>::type(value);
}

// Every kernel checks its operands' types against what the model said.
template <class data_T, int WIDTH, int FRAC, bool SIGNED> struct same_format {
    static const bool value = format_of<data_T>::width == WIDTH && format_of<data_T>::frac == FRAC &&
                              format_of<data_T>::is_signed == SIGNED;
};

} // namespace hls4attn

#endif
