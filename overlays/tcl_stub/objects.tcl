# SPDX-License-Identifier: Apache-2.0
# Objects and their properties.  An object is its name; one name may be that of objects of several kinds.

namespace eval dry {
    variable kinds      ;# name -> kinds
    variable properties ;# (kind,name,property) -> value
    array set kinds {}
    array set properties {}
    # Properties of each kind that a script may read or set, lower case; patterns are allowed.
    variable known
    array set known {
        project    {name part directory board_part board_connections ip_repo_paths board_part_repo_paths
                    target_language default_lib simulator_language}
        run        {name status progress directory strategy part is_synthesis is_implementation steps.*}
        fileset    {name top source_mgmt_mode}
        file       {name used_in synth_checkpoint_mode generate_synth_checkpoint}
        bd         {name file_name}
        ipdef      {vlnv name version}
        board_part {name}
        core       {name vendor library version taxonomy display_name description core_revision vendor_display_name
                    company_url supported_families}
        bus        {name slave_memory_map_ref interface_mode}
        group      {name}
        packaged   {name type}
        map        {name}
        block      {name base_address range width usage access}
        register   {name description address_offset size access reset_value}
        field      {name description bit_offset bit_width access}
        cell       {name vlnv type path config.*}
        pin        {name dir type path config.*}
        interface  {name mode vlnv path config.*}
        segment    {name offset range path}
        space      {name path}
    }
}

proc dry::object {kind name} {
    variable kinds
    if {![info exists kinds($name)] || $kind ni $kinds($name)} {
        lappend kinds($name) $kind
    }
    return $name
}

proc dry::get_kind_with {name property} {
    variable kinds
    variable known
    if {![info exists kinds($name)]} {
        problem "not an object: '$name'"
        return ""
    }
    foreach kind $kinds($name) {
        foreach pattern $known($kind) {
            if {[string match $pattern [string tolower $property]]} {
                return $kind
            }
        }
    }
    problem "$name (a [join $kinds($name) { or }]) has no property $property"
    return ""
}

proc dry::set_one {name property value} {
    variable properties
    set kind [get_kind_with $name $property]
    if {$kind eq ""} {
        return
    }
    if {$kind eq "cell" && [regexp -nocase {^config\.(.*)$} $property -> parameter]} {
        set_parameter $name $parameter $value
        return
    }
    set properties($kind,$name,[string tolower $property]) $value
}

proc dry::get_one {name property} {
    variable properties
    set kind [get_kind_with $name $property]
    if {$kind eq ""} {
        return ""
    }
    if {$kind eq "cell" && [regexp -nocase {^config\.(.*)$} $property -> parameter]} {
        return [get_parameter $name $parameter]
    }
    set key $kind,$name,[string tolower $property]
    if {[info exists properties($key)]} {
        return $properties($key)
    }
    return [expr {[string equal -nocase $property name] ? [lindex [split $name :] end] : ""}]
}

# set_property name value objects  |  set_property -dict {name value ...} objects
dry::command vivado set_property {} {-dict} {
    if {[dict exists $opt -dict]} {
        set pairs [dict get $opt -dict]
        set objects [lindex $words 0]
        set extra [expr {[llength $words] != 1}]
    } else {
        set pairs [lrange $words 0 1]
        set objects [lindex $words 2]
        set extra [expr {[llength $words] != 3}]
    }
    if {$extra || [llength $pairs] % 2} {
        ::dry::problem "set_property: takes a name, a value and objects, or -dict pairs and objects. Received: $words"
        return ""
    }
    if {![llength $objects]} {
        ::dry::problem "set_property [lindex $pairs 0]: no objects"
    }
    foreach name $objects {
        foreach {property value} $pairs {
            ::dry::set_one $name $property $value
        }
    }
    return ""
}

dry::command vivado get_property {} {} {
    lassign $words property objects
    if {![llength $objects]} {
        ::dry::problem "get_property $property: no object"
        return ""
    }
    set found {}
    foreach name $objects {
        lappend found [::dry::get_one $name $property]
    }
    return [expr {[llength $found] == 1 ? [lindex $found 0] : $found}]
}
