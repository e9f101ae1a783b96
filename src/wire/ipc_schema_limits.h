/// What the headers of Arrow IPC messages may make a reader allocate, checked in place before a reader of Arrow sees them.
///
/// Flatbuffers let many fields point at one table, one name or one list of metadata, and a reader makes an object for each: a
/// header of 200 KiB can ask for gigabytes outside of any pool. Here what is named is counted as often as it is.

#pragma once

#include <string_view>

#include "core/status.h"

namespace sheaf::wire {

inline constexpr int kIpcSchemaFieldsMax = 2000;  // Of a schema, those inside others included.
inline constexpr int kIpcSchemaDepthMax = 32;

/// The flatbuffer of one message, of any kind. What its fields' names, metadata, time zones and type codes take together may be
/// as large as the header itself (and 64 KiB, for writers that share some), since nobody needs one twice. Errors: Invalid
/// (malformed), TooLarge.
Status CheckIpcHeader(std::string_view header);

/// The first message of a stream, which is its schema. Errors: Invalid (it does not begin as one), TooLarge.
Status CheckIpcStreamSchema(std::string_view stream);

}  // namespace sheaf::wire
