# SPDX-License-Identifier: Apache-2.0
"""The Tcl that makes an IP of a kernel: one text for Vivado HLS 2020.1, Vitis HLS and vitis-run --mode hls."""

from __future__ import annotations

from hls4attn.hls.axis import KERNEL_VERSION, LIBRARY, VENDOR, KernelSource

#: Elements of an array that Vivado HLS may turn into registers; its own limit is 1024, as hls4ml's scripts raise it.
_PARTITION = 4096
#: Characters of a module's name, as hls4ml's scripts have it.
_NAMES = 80
#: Folder of the tools' own projects.
_WORK = "hls_work"

_TEXT = """# SPDX-License-Identifier: Apache-2.0
#
# C++ of the kernel {name} to an IP.  Run it in the build folder, with the tool that is there:
#     vitis-run --mode hls --tcl FILE        vitis_hls -f FILE        vivado_hls -f FILE
set name {name}
set top {top}
set root [pwd]
set folder [file join $root {folder}]
if {{[regexp {{\\s}} $root]}} {{
    error "The path of the build folder has a space, which compiler options cannot have: $root"
}}
foreach file {{{files}}} {{
    if {{![file isfile [file join $folder $file]]}} {{
        error "A source of the kernel is missing: {folder}/$file"
    }}
}}
set flags "-std=c++11"
foreach include {{{includes}}} {{
    append flags " -I[file join $folder $include]"
}}

# The tools put a project into the current folder.
file mkdir [file join $root {work}]
cd [file join $root {work}]
open_project -reset $name
set_top $top
foreach file {{{units}}} {{
    add_files [file join $folder $file] -cflags $flags
}}
open_solution -reset solution1
set_part {part}
create_clock -period {period} -name default
# A reset clears what the sources say, not the memories: the cells' table in use stays.
config_rtl -reset control
# Names of modules, and so of files, come from templates; a file system takes 255 characters.
config_compile -name_max_length {names}
# A loop that goes on into the next sample may keep the last words of a packet until another packet comes, and the shell
# lets none in before they left.  Vivado HLS has no such loops.
if {{[catch {{config_compile -enable_auto_rewind=false}} message]}} {{
    puts "INFO: loops are not rewound by this tool: $message"
}}
# Vivado HLS only: larger arrays would stay memories.
catch {{config_array_partition -maximum_size {partition}}}
csynth_design

set solution [file join $root {work} $name solution1]
set report [file join $solution syn report ${{top}}_csynth.xml]
if {{![file isfile $report]}} {{
    error "Synthesis left no report: $report"
}}
file mkdir [file join $root reports]
file copy -force $report [file join $root {report}]

if {{[catch {{export_design -format ip_catalog -vendor {vendor} -library {library} -version {version}}} message]}} {{
    # Up to 2021.2 an IP's revision is the date as ten digits, which from 2022 on are no integer to these releases.
    error "export_design failed: $message.  If the log calls a core_revision of ten digits invalid, or a bad lexical\\
cast, install the patch of AMD answer record 76960, or use a release from 2022 on"
}}
set ip [file join $solution impl ip]
if {{![file isfile [file join $ip component.xml]]}} {{
    error "Export left no IP: [file join $ip component.xml]"
}}
file delete -force [file join $root {ip}]
file mkdir [file join $root ip]
file copy $ip [file join $root {ip}]
exit 0
"""


def hls_script(source: KernelSource) -> str:
    """The Tcl of a kernel's synthesis and export, to be run in the build folder.

    Args:
        source: the kernel; its files lie in `hls_folder` of the build folder.

    Returns:
        A text without absolute paths.  It leaves `hls_outputs`, or ends in an error that says why.
    """
    report, component = hls_outputs(source)
    return _TEXT.format(
        name=source.name,
        top=source.top,
        folder=hls_folder(source),
        work=_WORK,
        files=" ".join((*source.files, *source.data)),
        units=" ".join(source.files),
        includes=" ".join(source.includes),
        part=source.part,
        period=f"{source.clock_period_ns:g}",
        partition=_PARTITION,
        names=_NAMES,
        report=report,
        vendor=VENDOR,
        library=LIBRARY,
        version=KERNEL_VERSION,
        ip=component.rpartition("/")[0],
    )


def hls_folder(source: KernelSource) -> str:
    """Where a kernel's files lie in the build folder."""
    return f"hls/{source.name}"


def hls_inputs(source: KernelSource) -> tuple[str, ...]:
    """Files that the script reads, by their paths in the build folder."""
    return tuple(f"{hls_folder(source)}/{name}" for name in (*source.files, *source.data))


def hls_outputs(source: KernelSource) -> tuple[str, str]:
    """Files that the script leaves: the report of synthesis, and the description of the IP."""
    return f"reports/hls_{source.name}.xml", f"ip/{source.name}/component.xml"
