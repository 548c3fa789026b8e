// SPDX-License-Identifier: Apache-2.0
//
// Dataflow simulation: the processes of a design side by side, on FIFOs of their real depth, timed.
//
//      source --> FIFO --> process --> FIFO --> process --> FIFO --> sink        each box a coroutine with its own clock
//                             ping-pong bank ------^
//
// A process runs until a FIFO stops it: empty to read, full to write.  When all are stopped and not done, the design
// is deadlocked, and the failure says who waits for what.  The order in which ready processes run, and how often they
// are interrupted, is drawn from a seed: results must not depend on it.
//
// Time: an iteration that starts at t reads at t or when the word is there, whichever is later; what it writes can be
// read from t + latency + 1 on, if the FIFO has a free word by t + latency; the next one starts HLS4ATTN_CYCLES later.
// Every process repeats itself for each sequence, as the blocks of an HLS dataflow region do; a bank has two halves.

#ifndef HLS4ATTN_SIM_DATAFLOW_H_
#define HLS4ATTN_SIM_DATAFLOW_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "hls_stream.h"

#define HLS4ATTN_PROCESS(...) hls4attn::sim::spawn(#__VA_ARGS__, true, [&]() { __VA_ARGS__; });
#define HLS4ATTN_REGION(...) hls4attn::sim::spawn(#__VA_ARGS__, false, [&]() { __VA_ARGS__; });
#define HLS4ATTN_JOIN hls4attn::sim::join();
#define HLS4ATTN_DEPTH(stream, words) (stream).set_depth(words);
#define HLS4ATTN_LATENCY(cycles) hls4attn::sim::set_latency(cycles);
#define HLS4ATTN_CYCLES(cycles) hls4attn::sim::spend(cycles);
#define HLS4ATTN_BANK(type, name) hls4attn::sim::bank<type> name(#name);
#define HLS4ATTN_FILL(bank) (bank).fill().half()
#define HLS4ATTN_DRAIN(bank) (bank).drain().half()

namespace hls4attn {
namespace sim {

struct aborted {}; // unwinds a coroutine after another one failed

// A coroutine's stack, grown as it is used.  Below it lies a page that nobody may touch: an overflow ends the program.
class stack {
  public:
    static const std::size_t bytes = 1 << 20;

    stack() : page_(std::size_t(sysconf(_SC_PAGESIZE))) {
        at_ = mmap(nullptr, page_ + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at_ == MAP_FAILED || mprotect(at_, page_, PROT_NONE) != 0) {
            throw failure("no memory for a process's stack");
        }
    }
    stack(const stack &) = delete;
    stack &operator=(const stack &) = delete;
    ~stack() { munmap(at_, page_ + bytes); }
    char *bottom() { return static_cast<char *>(at_) + page_; }

  private:
    const std::size_t page_;
    void *at_;
};

struct process {
    std::string name;
    std::function<void()> body;
    process *parent;
    bool repeats;        // once a sequence
    bool ready, done;
    int sequence;
    int children;        // not done
    int latency;
    long long time, busy;
    std::string waits;   // for what, when not ready
    std::unique_ptr<sim::stack> stack;
    ucontext_t context;
};

struct fifo_report {
    std::string name;
    int depth;
    std::size_t high_water;
    long long words;
};

// One simulated design: coroutines, their scheduler, and what is known about it afterwards.
class network {
  public:
    network(int sequences, std::uint64_t seed, int interrupt_percent)
        : sequences(sequences), current(nullptr), failing(false), state_(seed * 2862933555777941757ULL + 88172645463325252ULL),
          interrupt_(interrupt_percent) {}

    static network *&active() {
        static thread_local network *instance = nullptr;
        return instance;
    }

    std::uint32_t random() { // xorshift64*
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return std::uint32_t((state_ * 2685821657736338717ULL) >> 32);
    }
    bool chance(int percent) { return percent > 0 && int(random() % 100) < percent; }

    void add(const std::string &name, bool repeats, std::function<void()> body) {
        std::unique_ptr<process> made(new process());
        made->name = current && current->parent ? current->name + "/" + name : name;
        made->body = std::move(body);
        made->parent = current;
        made->repeats = repeats;
        made->ready = true;
        made->stack.reset(new stack());
        if (current) {
            current->children++;
        }
        ready_.push_back(made.get());
        processes.push_back(std::move(made));
    }

    // Runs `top` and everything it spawns; throws what went wrong.
    void run(std::function<void()> top) {
        active() = this;
        add("top", false, std::move(top));
        while (!ready_.empty()) {
            const std::size_t chosen = random() % ready_.size();
            process *next = ready_[chosen];
            ready_[chosen] = ready_.back();
            ready_.pop_back();
            resume(next);
            if (ready_.empty() && !failing) {
                check_progress();
            }
        }
        active() = nullptr;
        if (failing) {
            throw failure(message_);
        }
    }

    // Called by the running process: stops it until somebody calls wake().
    void block(const std::string &what) {
        current->waits = what;
        current->ready = false;
        leave();
    }
    void wake(process *waiting) {
        if (waiting && !waiting->ready && !waiting->done) {
            waiting->ready = true;
            ready_.push_back(waiting);
        }
    }
    void maybe_interrupt() {
        if (chance(interrupt_)) {
            ready_.push_back(current);
            leave();
        }
    }

    const int sequences;
    process *current;
    bool failing;
    std::vector<std::unique_ptr<process> > processes;
    std::vector<fifo_report> fifos;

  private:
    static void trampoline() {
        network &net = *active();
        process &me = *net.current;
        try {
            for (me.sequence = 0; me.sequence < (me.repeats ? net.sequences : 1); me.sequence++) {
                me.body();
            }
        } catch (const aborted &) {
        } catch (const std::exception &error) {
            net.fail(me.name + ": " + error.what());
        }
        me.done = true;
        if (me.parent && --me.parent->children == 0) {
            net.wake(me.parent);
        }
        swapcontext(&me.context, &net.scheduler_);
    }

    void resume(process *next) {
        if (!next->context.uc_stack.ss_sp) {
            getcontext(&next->context);
            next->context.uc_stack.ss_sp = next->stack->bottom();
            next->context.uc_stack.ss_size = stack::bytes;
            makecontext(&next->context, trampoline, 0);
        }
        current = next;
        swapcontext(&scheduler_, &next->context);
        current = nullptr;
        if (next->done) {
            next->stack.reset();
        }
    }

    void leave() {
        process &me = *current;
        swapcontext(&me.context, &scheduler_);
        if (failing) {
            throw aborted();
        }
    }

    void fail(const std::string &text) {
        if (!failing) {
            failing = true;
            message_ = text;
        }
        for (std::size_t i = 0; i < processes.size(); i++) {
            if (processes[i].get() != current) {
                wake(processes[i].get());
            }
        }
    }

    void check_progress() {
        std::string waiting;
        for (std::size_t i = 0; i < processes.size(); i++) {
            const process &p = *processes[i];
            if (!p.done && p.children == 0) {
                waiting += "\n  " + p.name + ", sequence " + std::to_string(p.sequence) + ": " + p.waits;
            }
        }
        if (!waiting.empty()) {
            fail("deadlock:" + waiting);
        }
    }

    std::uint64_t state_;
    const int interrupt_;
    std::vector<process *> ready_;
    ucontext_t scheduler_;
    std::string message_;
};

inline network &net() {
    return *network::active();
}
inline process &self() {
    return *net().current;
}

// The name of a call: its function, and the configuration that tells two calls of it apart.
inline std::string call_name(const std::string &text) {
    const std::size_t end = text.find_first_of("<("), space = text.rfind("::", end);
    std::string name = text.substr(space == std::string::npos ? 0 : space + 2, end - (space == std::string::npos ? 0 : space + 2));
    const std::size_t config = text.find("config");
    if (config != std::string::npos && config + 6 < text.size() && text[config + 6] >= '0' && text[config + 6] <= '9') {
        name += " " + text.substr(config + 6, text.find_first_not_of("0123456789", config + 6) - config - 6);
    }
    return name;
}

inline void spawn(const char *call, bool repeats, std::function<void()> body) {
    net().add(call_name(call), repeats, std::move(body));
}
inline void join() {
    while (self().children > 0) {
        net().block("its processes");
    }
}
inline void set_latency(int cycles) {
    self().latency = cycles;
}
inline void spend(long long cycles) {
    self().time += cycles;
    self().busy += cycles;
}

// The length of the sequence that the asking process works on.
class run_time_length {
  public:
    run_time_length(const std::int32_t *table, int full) : table_(table), full_(full) {}
    operator int() const { return table_ ? table_[self().sequence] : full_; }

  private:
    const std::int32_t *table_;
    int full_;
};

// What bounds and times one FIFO; the words themselves are in hls::stream.
class gate {
  public:
    gate() : depth_(2), written_(0), read_(0), high_water_(0), reader_(nullptr), writer_(nullptr) {}

    void open(const char *name, int depth) {
        name_ = self().parent ? self().name + "/" + name : name;
        set_depth(depth > 0 ? depth : 2);
    }
    void set_depth(int words) { depth_ = words; }
    void close() {
        if (network::active()) {
            const fifo_report report = {name_, depth_, high_water_, written_};
            net().fifos.push_back(report);
        }
    }

    void before_read() {
        while (read_ == written_) {
            reader_ = &self();
            net().block("reads " + name_ + ", which is empty");
        }
        later(visible_.front());
        visible_.pop();
    }
    void after_read() {
        read_++;
        free_.push(self().time + 1);
        wake(writer_);
    }
    void before_write() {
        while (written_ - read_ >= depth_) {
            writer_ = &self();
            net().block("writes " + name_ + ", which is full (" + std::to_string(depth_) + " words)");
        }
        if (written_ >= depth_) {
            later(free_.front() - self().latency);
            free_.pop();
        }
    }
    void after_write() {
        written_++;
        visible_.push(self().time + self().latency + 1);
        if (std::size_t(written_ - read_) > high_water_) {
            high_water_ = std::size_t(written_ - read_);
        }
        wake(reader_);
    }

  private:
    static void later(long long time) {
        if (time > self().time) {
            self().time = time;
        }
    }
    static void wake(process *&waiting) {
        net().wake(waiting);
        waiting = nullptr;
        net().maybe_interrupt();
    }

    std::string name_;
    int depth_;
    long long written_, read_;
    std::size_t high_water_;
    queue<long long> visible_, free_; // when the words in it can be read; when the words read from it were
    process *reader_, *writer_;
};

// An array that one process fills for a sequence while another reads the sequence before it.
template <class array_T> class bank {
    struct storage {
        array_T at;
    };

  public:
    // Holds one half for the time of a call.
    class lease {
      public:
        lease(bank &owner, bool filling) : owner_(&owner), filling_(filling) {}
        lease(lease &&other) : owner_(other.owner_), filling_(other.filling_) { other.owner_ = nullptr; }
        ~lease() {
            if (owner_) {
                owner_->release(filling_);
            }
        }
        array_T &half() { return owner_->halves_[self().sequence % 2].at; }

      private:
        bank *owner_;
        bool filling_;
    };

    explicit bank(const char *name) : name_(name), halves_(2), filled_(0), drained_(0), waiting_(nullptr) {}

    lease fill() {
        while (self().sequence - drained_ >= 2) {
            waiting_ = &self();
            net().block("fills " + name_ + ", both halves of which are in use");
        }
        if (self().sequence >= 2) {
            later(drained_at_[self().sequence % 2]);
        }
        return lease(*this, true);
    }
    lease drain() {
        while (filled_ <= self().sequence) {
            waiting_ = &self();
            net().block("reads " + name_ + ", which is not filled");
        }
        later(filled_at_[self().sequence % 2]);
        return lease(*this, false);
    }

  private:
    static void later(long long time) {
        if (time > self().time) {
            self().time = time;
        }
    }
    void release(bool filling) {
        if (!network::active() || net().failing) {
            return;
        }
        if (filling) {
            filled_at_[self().sequence % 2] = self().time + self().latency + 1;
            filled_++;
        } else {
            drained_at_[self().sequence % 2] = self().time + 1;
            drained_++;
        }
        net().wake(waiting_);
        waiting_ = nullptr;
    }

    std::string name_;
    std::vector<storage> halves_;
    int filled_, drained_;
    long long filled_at_[2], drained_at_[2];
    process *waiting_;
};

} // namespace sim
} // namespace hls4attn

#endif
