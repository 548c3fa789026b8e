// SPDX-License-Identifier: Apache-2.0
//
// hls::stream for simulation, in place of the vendor's: starvation and left-over words are errors, not warnings.
//
//      plain C simulation        write --> [ any number of words ] --> read        processes run one after the other
//      HLS4ATTN_DATAFLOW         write --> [ depth words, stamped ] --> read       processes run side by side
//
// In plain C simulation reading an empty stream throws; a stream that is destroyed with words in it leaves a note,
// which the caller collects with take_note().  In dataflow simulation both block (attn_dataflow.h).
// Put this folder before the vendor's headers on the include path.

#ifndef HLS4ATTN_SIM_STREAM_H_
#define HLS4ATTN_SIM_STREAM_H_
#define X_HLS_STREAM_SIM_H // the vendor's own guard: its header must not come second

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace hls4attn {
namespace sim {

// What a design did wrong.
struct failure : std::runtime_error {
    explicit failure(const std::string &what) : std::runtime_error(what) {}
};

// The first complaint of this thread that could not be thrown.
inline std::string &note() {
    static thread_local std::string text;
    return text;
}

inline void complain(const std::string &text) {
    if (note().empty()) {
        note() = text;
    }
}

inline std::string take_note() {
    std::string text;
    text.swap(note());
    return text;
}

// A queue whose memory is reused.
template <class T> class queue {
  public:
    queue() : first_(0) {}
    bool empty() const { return first_ == words_.size(); }
    std::size_t size() const { return words_.size() - first_; }
    const T &at(std::size_t i) const { return words_.at(first_ + i); }
    void push(const T &word) {
        if (empty()) {
            words_.clear();
            first_ = 0;
        } else if (2 * first_ > words_.size() && first_ > 64) {
            words_.erase(words_.begin(), words_.begin() + first_);
            first_ = 0;
        }
        words_.push_back(word);
    }
    const T &front() const { return words_[first_]; }
    void pop() { first_++; }

  private:
    std::vector<T> words_;
    std::size_t first_;
};

} // namespace sim
} // namespace hls4attn

#ifdef HLS4ATTN_DATAFLOW
#include "attn_dataflow.h"
#endif

namespace hls {

template <class T, int DEPTH = 0> class stream {
  public:
    explicit stream(const char *name = "unnamed") : name_(name) {
#ifdef HLS4ATTN_DATAFLOW
        gate_.open(name, DEPTH);
#endif
    }

    ~stream() {
#ifdef HLS4ATTN_DATAFLOW
        gate_.close();
#endif
        if (!words_.empty() && !std::uncaught_exception()) {
            hls4attn::sim::complain("stream " + name_ + ": " + std::to_string(words_.size()) + " words left over");
        }
    }

    T read() {
#ifdef HLS4ATTN_DATAFLOW
        gate_.before_read();
#endif
        if (words_.empty()) {
            throw hls4attn::sim::failure("stream " + name_ + ": read while it is empty");
        }
        T word = words_.front();
        words_.pop();
#ifdef HLS4ATTN_DATAFLOW
        gate_.after_read();
#endif
        return word;
    }

    void write(const T &word) {
#ifdef HLS4ATTN_DATAFLOW
        gate_.before_write();
#endif
        words_.push(word);
#ifdef HLS4ATTN_DATAFLOW
        gate_.after_write();
#endif
    }

    void read(T &word) { word = read(); }
    void operator>>(T &word) { word = read(); }
    void operator<<(const T &word) { write(word); }
    bool empty() const { return words_.empty(); }
    std::size_t size() const { return words_.size(); }

    // Simulation only: word i from the front, which stays; and the depth that a pragma gives it in hardware.
    const T &peek(std::size_t i) const { return words_.at(i); }
#ifdef HLS4ATTN_DATAFLOW
    void set_depth(int words) { gate_.set_depth(words); }
#else
    void set_depth(int) {}
#endif

  private:
    stream(const stream &);
    stream &operator=(const stream &);

    std::string name_;
    hls4attn::sim::queue<T> words_;
#ifdef HLS4ATTN_DATAFLOW
    hls4attn::sim::gate gate_;
#endif
};

} // namespace hls

#endif
