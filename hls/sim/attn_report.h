// SPDX-License-Identifier: Apache-2.0
//
// What a dataflow simulation tells its caller: a JSON text, and when rows came and went.

#ifndef HLS4ATTN_SIM_REPORT_H_
#define HLS4ATTN_SIM_REPORT_H_

#include <algorithm>
#include <cstring>

#include "attn_dataflow.h"

namespace hls4attn {
namespace sim {

// Cycles that pass without work.
inline void wait(long long cycles) {
    self().time += cycles;
}

// The time of a sequence's first and of its last row.
inline void stamp(long long times[2], int row, int rows) {
    if (row == 0) {
        times[0] = self().time;
    }
    if (row == rows - 1) {
        times[1] = self().time;
    }
}

// Busy cycles of every process and use of every FIFO; names are C identifiers, spaces and slashes.
inline std::string describe(const network &net) {
    std::ostringstream out;
    out << "{\"busy\": {";
    const char *comma = "";
    for (std::size_t i = 0; i < net.processes.size(); i++) {
        const process &p = *net.processes[i];
        if (p.repeats) {
            out << comma << '"' << p.name << "\": " << p.busy;
            comma = ", ";
        }
    }
    out << "}, \"fifos\": {";
    comma = "";
    for (std::size_t i = 0; i < net.fifos.size(); i++) {
        const fifo_report &f = net.fifos[i];
        out << comma << '"' << f.name << "\": {\"depth\": " << f.depth << ", \"high_water\": " << f.high_water
            << ", \"words\": " << f.words << "}";
        comma = ", ";
    }
    out << "}}";
    return out.str();
}

inline void put(char *target, long size, const std::string &text) {
    const std::size_t bytes = std::min(text.size(), std::size_t(size - 1));
    std::memcpy(target, text.data(), bytes);
    target[bytes] = 0;
}

} // namespace sim
} // namespace hls4attn

#endif
