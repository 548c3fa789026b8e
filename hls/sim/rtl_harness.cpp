// SPDX-License-Identifier: Apache-2.0
// Rows through a streaming unit that Verilator translated: random gaps and stalls, rules of the stream checked.
#include "Vunit.h"
#include "verilated.h"
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

// Verilator ends the process at an error; here it ends the run (verilated.cpp is compiled with VL_USER_*).
void vl_fatal(const char *, int, const char *, const char *message) { throw std::runtime_error(message); }
void vl_stop(const char *, int, const char *) { throw std::runtime_error("$stop"); }
void vl_finish(const char *, int, const char *) { throw std::runtime_error("$finish"); }

namespace {
const int reset_clocks = 4;
const int quiet_clocks = 64; // after the last word: nothing more may come

struct random_bits {
    uint64_t state;
    explicit random_bits(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull | 1) {}
    bool below(int per_cent) {
        if (per_cent <= 0) {
            return false;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return int((state >> 33) % 100) < per_cent;
    }
};

// Place in rows of run-time length.
struct cursor {
    const int64_t *lengths;
    const uint8_t *joined;
    int64_t rows, row, column, count;
    cursor(const int64_t *lengths, const uint8_t *joined, int64_t rows)
        : lengths(lengths), joined(joined), rows(rows), row(0), column(0), count(0) {}
    bool done() const { return row == rows; }
    bool ends() const { return column + 1 == lengths[row]; }
    bool last() const { return ends() && !(joined && joined[row]); }
    void next() {
        column = ends() ? 0 : column + 1;
        row += column == 0;
        count++;
    }
};

std::string place(const char *what, const cursor &at) {
    return std::string(what) + " at row " + std::to_string(at.row) + ", element " + std::to_string(at.column);
}

struct output {
    bool valid, last;
    uint64_t data;
    explicit output(const Vunit &unit) : valid(unit.m_tvalid), last(unit.m_tlast), data(unit.m_tdata) {}
    bool same(const output &o) const {
        return valid == o.valid && (!valid || (last == o.last && data == o.data));
    }
};

void clock(Vunit &unit) {
    unit.clk = 1;
    unit.eval();
    unit.clk = 0;
}

// The outputs of one side may not answer the inputs of the other within a clock.
void check_paths(Vunit &unit, const cursor &in) {
    const bool s_tready = unit.s_tready;
    const output before(unit);
    unit.m_tready = !unit.m_tready;
    unit.eval();
    const bool ready_path = s_tready != bool(unit.s_tready);
    unit.m_tready = !unit.m_tready;
    unit.s_tvalid = !unit.s_tvalid;
    unit.eval();
    const bool valid_path = !before.same(output(unit));
    unit.s_tvalid = !unit.s_tvalid;
    unit.eval();
    if (ready_path || valid_path) {
        throw std::runtime_error(place(ready_path ? "a combinational path from m_tready to s_tready"
                                                  : "a combinational path from s_tvalid to m_tvalid", in));
    }
}
} // namespace

struct job {
    const uint64_t *data, *user;
    const int64_t *in_lengths, *out_lengths;
    int64_t rows;
    uint64_t *out;
    int64_t *starts, *ends; // a row each: clock of its first word in, of its last word out
    uint64_t seed;
    int64_t stall_in, stall_out; // per cent of clocks without s_tvalid, without m_tready
    int64_t patience;            // clocks without a word on either side
    const uint8_t *joined;       // a row each: whether the next one follows in the same packet; null if none does
    uint64_t *toggles;           // of a netlist that counts them; else 0
};

template <class unit_type> auto toggles_of(const unit_type &unit, int) -> decltype(uint64_t(unit.toggles)) {
    return unit.toggles;
}
template <class unit_type> uint64_t toggles_of(const unit_type &, long) { return 0; }

// Clocks from the first word offered to the last one taken.
static int64_t run(const job &j, int64_t &first) {
    const auto context = std::make_unique<VerilatedContext>();
    context->randReset(2); // registers that no reset reaches start at random
    context->randSeed(int(j.seed % 0x7FFFFFFF) + 1);
    const auto model = std::make_unique<Vunit>(context.get());
    Vunit &unit = *model;
    random_bits random(j.seed);
    unit.clk = 0;
    unit.rst_n = 0;
    unit.s_tvalid = 0;
    unit.m_tready = 0;
    for (int k = 0; k < reset_clocks; k++) {
        unit.eval();
        clock(unit);
    }
    unit.rst_n = 1;
    cursor in(j.in_lengths, j.joined, j.rows), out(j.out_lengths, j.joined, j.rows);
    const bool check = j.stall_in || j.stall_out;
    bool offered = false, held = false;
    int64_t idle = 0, clocks = 0, end = 0;
    output before(unit);
    for (int quiet = 0; quiet < quiet_clocks; clocks++) {
        if (!offered && !in.done()) {
            offered = !random.below(int(j.stall_in));
            unit.s_tdata = j.data[in.count];
            unit.s_tuser = j.user[in.count];
            unit.s_tlast = in.last();
        }
        unit.s_tvalid = offered;
        unit.m_tready = !random.below(int(j.stall_out));
        unit.eval();
        if (check) {
            check_paths(unit, in);
        }
        const output now(unit);
        if (held && !before.same(now)) {
            throw std::runtime_error(place("m_* changed before m_tready took it", out));
        }
        const bool taken = offered && unit.s_tready, given = now.valid && unit.m_tready;
        if (given) {
            if (out.done()) {
                throw std::runtime_error("a word behind the last row");
            }
            if (now.last != out.last()) {
                throw std::runtime_error(place(now.last ? "m_tlast too early" : "no m_tlast", out));
            }
            first = first < 0 ? clocks : first;
            j.out[out.count] = now.data;
            j.ends[out.row] = end = clocks + 1;
            out.next();
        }
        if (taken) {
            if (in.column == 0) {
                j.starts[in.row] = clocks;
            }
            in.next();
            offered = false;
        }
        before = now;
        held = now.valid && !unit.m_tready;
        clock(unit);
        quiet = in.done() && out.done() ? quiet + 1 : 0;
        idle = taken || given || quiet ? 0 : idle + 1;
        if (idle > j.patience) {
            throw std::runtime_error(in.done() ? place("no m_tvalid", out) + ", everything was taken"
                                     : unit.s_tready ? place("no m_tvalid", out) : place("no s_tready", in) + "; " + place("output stands", out));
        }
    }
    *j.toggles = toggles_of(unit, 0);
    unit.final();
    return end;
}

extern "C" __attribute__((visibility("default"))) int64_t hls4attn_rtl(const job *j, int64_t *first, char *message,
                                                                         int64_t size) {
    *first = -1;
    try {
        return run(*j, *first);
    } catch (const std::exception &failure) {
        std::snprintf(message, size, "%s", failure.what());
        return -1;
    }
}
