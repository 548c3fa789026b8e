// SPDX-License-Identifier: Apache-2.0
//
// What the streaming kernels share: rows as stream words, and the marks that a dataflow simulation reads.
//
//      hls::stream<row> --> process --> FIFO --> process --> FIFO --> process --> hls::stream<row>
//                              |                    ^
//                              +--> ping-pong bank -+          one process writes a FIFO or bank, one reads it
//
// A stream word is one row of a tensor: all its channels.  A kernel is one process (HLS4ATTN_PROCESS), or a region of
// processes (HLS4ATTN_REGION) connected by FIFOs and by banks that hold one sequence and are doubled by the tool.
// The marks are nothing in synthesis and in plain C simulation: a process is its call, a bank is its array.
// HLS4ATTN_DATAFLOW turns them on: the processes then run side by side on FIFOs of their real depth, stall at random,
// and are timed (sim/attn_dataflow.h).
// Formula:  each output word is a function of the words read before it, and of nothing else
// Source: Kahn process networks; the results of such a network do not depend on timing, only its progress does.

#ifndef HLS4ATTN_STREAM_H_
#define HLS4ATTN_STREAM_H_

#include "attn_tail.h"
#include "hls_stream.h"

#ifdef HLS4ATTN_DATAFLOW
#include "attn_dataflow.h"
#else

#define HLS4ATTN_PROCESS(...) __VA_ARGS__; // one process: runs once a sequence
#define HLS4ATTN_REGION(...) __VA_ARGS__;  // a kernel that is a region of its own
#define HLS4ATTN_JOIN                      // end of a region
#define HLS4ATTN_DEPTH(stream, words)      // beside the STREAM pragma: the same depth
#define HLS4ATTN_LATENCY(cycles)           // at the start of a process: from reading to writing
#define HLS4ATTN_CYCLES(cycles)            // at the end of an iteration: its initiation interval
#define HLS4ATTN_BANK(type, name) type name; // an array that one process fills and another reads
#define HLS4ATTN_FILL(bank) bank             // as the argument of the process that fills it
#define HLS4ATTN_DRAIN(bank) bank            // as the argument of the process that reads it

#endif

// Beside the declaration of a word that is written to a stream: its FIFO is one, not one for each field and element.
// Vivado HLS needs to be told; Vitis HLS does so by itself, and refuses the directive.
#ifdef __VITIS_HLS__
#define HLS4ATTN_PACK(word)
#else
#define HLS4ATTN_TEXT(...) #__VA_ARGS__
#define HLS4ATTN_PACK(word) _Pragma(HLS4ATTN_TEXT(HLS DATA_PACK variable=word))
#endif

namespace hls4attn {

// A row outside an hls4ml project, where nnet::array has the same members.
template <class T, unsigned N> struct row {
    typedef T value_type;
    static const unsigned size = N;
    T data[N];
    T &operator[](int i) { return data[i]; }
    const T &operator[](int i) const { return data[i]; }
};

// Every streaming kernel checks its operands' rows against what the model said.
template <class row_T, int CHANNELS, int WIDTH, int FRAC, bool SIGNED> struct same_row {
    static const bool value = int(row_T::size) == CHANNELS &&
                              same_format<typename row_T::value_type, WIDTH, FRAC, SIGNED>::value;
};

#ifdef HLS4ATTN_TRACE
// Simulation only: the codes of the rows that a kernel has just written, which stay in their stream; zero for the rows
// that a short sequence lacks.
template <class row_T> void record(int index, const hls::stream<row_T> &rows, int size) {
    int *target = record_target(index);
    for (int i = 0; i < size; i++) {
        const int r = i / int(row_T::size), c = i % int(row_T::size);
        target[i] = r < int(rows.size()) ? int(raw(rows.peek(r)[c])) : 0;
    }
}
#endif

} // namespace hls4attn

#endif
