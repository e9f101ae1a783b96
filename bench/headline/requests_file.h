/// Files of messages, each after its length in four bytes, little-endian: what the programs of the headline table, in two
/// languages, and OTel-Arrow's encoder give each other.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace sheaf::bench {

inline void WriteMessage(std::ofstream* file, const std::string& message) {
  const auto size = static_cast<uint32_t>(message.size());
  file->write(reinterpret_cast<const char*>(&size), sizeof size);
  file->write(message.data(), size);
}

/// Calls take(message) for each, until it returns false or the file ends; ends the program where the file is missing or cut off.
template <typename Take>
void ReadMessages(const std::string& path, const Take& take) {
  std::ifstream file(path, std::ios::binary);
  const auto fail = [&path](const char* what) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), what);
    std::exit(1);
  };
  if (!file) fail("cannot be read");
  uint32_t size;
  while (file.read(reinterpret_cast<char*>(&size), sizeof size)) {
    std::string message(size, '\0');
    if (!file.read(message.data(), size)) fail("ends within a message");
    if (!take(std::move(message))) return;
  }
}

}  // namespace sheaf::bench
