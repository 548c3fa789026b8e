// SPDX-License-Identifier: Apache-2.0
//
// Words of an AXI4-Stream for simulation, in place of the vendor's: one beat with its side channels.
//
//      ap_axiu<D, U, TI, TD>      data  keep  strb  last  user  id  dest        D bits of data, one bit of keep a byte
//
// A side channel of no bits has no member that could be used, as in Vitis HLS.
// Put this folder before the vendor's headers on the include path.

#ifndef HLS4ATTN_SIM_AXI_SDATA_H_
#define HLS4ATTN_SIM_AXI_SDATA_H_

#include "ap_int.h"

namespace hls4attn {
namespace sim {

struct no_channel {};

template <int BITS> struct channel {
    typedef ap_uint<BITS> type;
};
template <> struct channel<0> {
    typedef no_channel type;
};

} // namespace sim
} // namespace hls4attn

template <int D, int U, int TI, int TD> struct ap_axiu {
    static_assert(D > 0 && D % 8 == 0, "ap_axiu: whole bytes");
    ap_uint<D> data;
    ap_uint<D / 8> keep;
    ap_uint<D / 8> strb;
    ap_uint<1> last;
    typename hls4attn::sim::channel<U>::type user;
    typename hls4attn::sim::channel<TI>::type id;
    typename hls4attn::sim::channel<TD>::type dest;
};

#endif
