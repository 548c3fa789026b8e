// SPDX-License-Identifier: Apache-2.0
// Sequences of rows through a kernel between wide streams: random gaps and stalls, rules of the stream checked.
#include "Vunit.h"
#include "verilated.h"
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// Verilator ends the process at an error; here it ends the run (verilated.cpp is compiled with VL_USER_*).
void vl_fatal(const char *, int, const char *, const char *message) { throw std::runtime_error(message); }
void vl_stop(const char *, int, const char *) { throw std::runtime_error("$stop"); }
void vl_finish(const char *, int, const char *) { throw std::runtime_error("$finish"); }

namespace {
const int reset_clocks = 4;
const int quiet_clocks = 64; // after the last row: nothing more may come
const int most_inputs = 3;

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

// Place in sequences of run-time length.
struct cursor {
    const int64_t *lengths;
    int64_t sequences, sequence, row, count;
    cursor(const int64_t *lengths, int64_t sequences)
        : lengths(lengths), sequences(sequences), sequence(0), row(0), count(0) {}
    bool done() const { return sequence == sequences; }
    bool last() const { return row + 1 == lengths[sequence]; }
    void next() {
        row = last() ? 0 : row + 1;
        sequence += row == 0;
        count++;
    }
};

std::string place(const char *what, const cursor &at) {
    return std::string(what) + " at sequence " + std::to_string(at.sequence) + ", row " + std::to_string(at.row);
}

// Ports of any width are integers or arrays of words, the low bits first: bytes on every machine that runs this.
template <class port_T> void put(port_T &port, const uint8_t *bytes) { std::memcpy(&port, bytes, sizeof(port)); }

struct input {
    bool valid, last;
    const uint8_t *row;
};

// A kernel has one to three inputs.
#define HLS4ATTN_INPUT(K)                                                                                             \
    template <class unit_T> auto size##K(unit_T &unit, int)->decltype(sizeof(unit.s##K##_tdata)) {                    \
        return sizeof(unit.s##K##_tdata);                                                                             \
    }                                                                                                                 \
    template <class unit_T> size_t size##K(unit_T &, long) { return 0; }                                              \
    template <class unit_T> auto drive##K(unit_T &unit, const input &in, int)->decltype((void)unit.s##K##_tdata) {    \
        unit.s##K##_tvalid = in.valid;                                                                                \
        unit.s##K##_tlast = in.last;                                                                                  \
        put(unit.s##K##_tdata, in.row);                                                                               \
    }                                                                                                                 \
    template <class unit_T> void drive##K(unit_T &, const input &, long) {}                                           \
    template <class unit_T> auto ready##K(unit_T &unit, int)->decltype(bool(unit.s##K##_tready)) {                    \
        return unit.s##K##_tready;                                                                                    \
    }                                                                                                                 \
    template <class unit_T> bool ready##K(unit_T &, long) { return false; }
HLS4ATTN_INPUT(0)
HLS4ATTN_INPUT(1)
HLS4ATTN_INPUT(2)

void drive(Vunit &unit, const input *in) {
    drive0(unit, in[0], 0);
    drive1(unit, in[1], 0);
    drive2(unit, in[2], 0);
}

unsigned ready(Vunit &unit) { return ready0(unit, 0) | ready1(unit, 0) << 1 | ready2(unit, 0) << 2; }

struct output {
    bool valid, last;
    std::vector<uint8_t> row;
    explicit output(const Vunit &unit) : valid(unit.m_tvalid), last(unit.m_tlast), row(sizeof(unit.m_tdata)) {
        std::memcpy(row.data(), &unit.m_tdata, row.size());
    }
    bool same(const output &o) const {
        return valid == o.valid && (!valid || (last == o.last && row == o.row));
    }
};

void clock(Vunit &unit) {
    unit.clk = 1;
    unit.eval();
    unit.clk = 0;
}

// The outputs of one side may not answer the inputs of the other within a clock.
void check_paths(Vunit &unit, const input *in, const cursor &at) {
    const unsigned s_ready = ready(unit);
    const output before(unit);
    unit.m_tready = !unit.m_tready;
    unit.eval();
    const bool ready_path = s_ready != ready(unit);
    unit.m_tready = !unit.m_tready;
    input other[most_inputs];
    for (int k = 0; k < most_inputs; k++) {
        other[k] = in[k];
        other[k].valid = !in[k].valid;
    }
    drive(unit, other);
    unit.eval();
    const bool valid_path = !before.same(output(unit));
    drive(unit, in);
    unit.eval();
    if (ready_path || valid_path) {
        throw std::runtime_error(place(ready_path ? "a combinational path from m_tready to s_tready"
                                                  : "a combinational path from s_tvalid to m_tvalid", at));
    }
}
} // namespace

struct job {
    const uint8_t *rows[most_inputs]; // each as many bytes as its port has
    int64_t inputs, sequences;
    const int64_t *in_lengths, *out_lengths;
    uint8_t *out;
    int64_t *starts, *ends; // clock in which each row of input 0 was taken, and after which each result was
    uint64_t seed;
    int64_t stall_in, stall_out; // per cent of clocks without tvalid, without m_tready
    int64_t patience;            // clocks without a word on either side
};

// Clocks from the first row offered to the last one taken.
static int64_t run(const job &j) {
    const auto context = std::make_unique<VerilatedContext>();
    context->randReset(2); // registers that no reset reaches start at random
    context->randSeed(int(j.seed % 0x7FFFFFFF) + 1);
    const auto model = std::make_unique<Vunit>(context.get());
    Vunit &unit = *model;
    random_bits random(j.seed);
    const size_t sizes[most_inputs] = {size0(unit, 0), size1(unit, 0), size2(unit, 0)};
    std::vector<uint8_t> nothing(1 << 16);
    input in[most_inputs] = {{false, false, nothing.data()}, {false, false, nothing.data()}, {false, false, nothing.data()}};
    unit.clk = 0;
    unit.rst_n = 0;
    unit.m_tready = 0;
    for (int k = 0; k < reset_clocks; k++) {
        drive(unit, in);
        unit.eval();
        clock(unit);
    }
    unit.rst_n = 1;
    std::vector<cursor> at(j.inputs, cursor(j.in_lengths, j.sequences));
    cursor out(j.out_lengths, j.sequences);
    const bool check = j.stall_in || j.stall_out;
    bool held = false;
    int64_t idle = 0, clocks = 0, end = 0;
    output before(unit);
    for (int quiet = 0; quiet < quiet_clocks; clocks++) {
        bool all_in = true;
        for (int k = 0; k < j.inputs; k++) {
            if (!in[k].valid && !at[k].done()) {
                in[k] = {!random.below(int(j.stall_in)), at[k].last(), j.rows[k] + at[k].count * sizes[k]};
            }
            all_in = all_in && at[k].done();
        }
        drive(unit, in);
        unit.m_tready = !random.below(int(j.stall_out));
        unit.eval();
        if (check) {
            check_paths(unit, in, out);
        }
        const output now(unit);
        if (held && !before.same(now)) {
            throw std::runtime_error(place("m_* changed before m_tready took it", out));
        }
        const unsigned taken = ready(unit);
        const bool given = now.valid && unit.m_tready;
        bool moved = given;
        if (given) {
            if (out.done()) {
                throw std::runtime_error("a row behind the last sequence");
            }
            if (now.last != out.last()) {
                throw std::runtime_error(place(now.last ? "m_tlast too early" : "no m_tlast", out));
            }
            std::memcpy(j.out + out.count * now.row.size(), now.row.data(), now.row.size());
            j.ends[out.count] = end = clocks + 1;
            out.next();
        }
        for (int k = 0; k < j.inputs; k++) {
            if (in[k].valid && (taken >> k & 1)) {
                if (k == 0) {
                    j.starts[at[0].count] = clocks;
                }
                at[k].next();
                in[k] = {false, false, nothing.data()};
                moved = true;
            }
        }
        before = now;
        held = now.valid && !unit.m_tready;
        clock(unit);
        quiet = all_in && out.done() ? quiet + 1 : 0;
        idle = moved || quiet ? 0 : idle + 1;
        if (idle > j.patience) {
            throw std::runtime_error(place(all_in ? "no m_tvalid, everything was taken" : "nothing moves", out));
        }
    }
    unit.final();
    return end;
}

extern "C" __attribute__((visibility("default"))) int64_t hls4attn_row_bytes(int64_t port) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto unit = std::make_unique<Vunit>(context.get());
    return port == 0 ? size0(*unit, 0) : port == 1 ? size1(*unit, 0) : port == 2 ? size2(*unit, 0) : sizeof(unit->m_tdata);
}

extern "C" __attribute__((visibility("default"))) int64_t hls4attn_net(const job *j, char *message, int64_t size) {
    try {
        return run(*j);
    } catch (const std::exception &failure) {
        std::snprintf(message, size, "%s", failure.what());
        return -1;
    }
}
