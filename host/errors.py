# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a board, by name; each is a `DeviceError`.

After all but the last four, the driver has reset the DMA and the logic, and the next call works.
"""

from __future__ import annotations

from hls4attn.models.errors import DeviceError


class DmaError(DeviceError):
    """The DMA stopped, or takes no transfer."""


class DmaInternalError(DmaError):
    """DMAIntErr: a length of 0, or an answer longer than the receive buffer."""


class DmaSlaveError(DmaError):
    """DMASlvErr: the memory answered an access with an error."""


class DmaDecodeError(DmaError):
    """DMADecErr: nothing answers at an address that the DMA was given."""


class TransferTimeoutError(DeviceError):
    """A transfer did not end in time, and nothing says why."""


class StalledStreamError(TransferTimeoutError):
    """The logic takes no input, or gives no answer."""


class MissingLastError(TransferTimeoutError):
    """The whole answer left the logic, but no TLAST with it, so the DMA waits for more."""


class ShortPacketError(DeviceError):
    """TLAST came before the answer was whole."""


class LostInterruptError(DeviceError):
    """The transfer is over, but its interrupt did not come."""


class WrongPartError(DeviceError):
    """An overlay for another part."""


class WrongModelError(DeviceError):
    """The logic holds another model than the manifest describes, or somebody configured it anew."""


class DeviceGoneError(DeviceError):
    """The registers do not answer, or with values that they cannot have."""


class DeviceBusyError(DeviceError):
    """Another overlay, thread or process owns the device."""
