#include "store/names.h"

#include <algorithm>
#include <cstdint>

namespace sheaf::store {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (Lower(a[i - 1]) == Lower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

int CompareNames(std::string_view a, std::string_view b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const auto x = static_cast<unsigned char>(Lower(a[i])), y = static_cast<unsigned char>(Lower(b[i]));
    if (x != y) return x < y ? -1 : 1;
  }
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

bool SameName(std::string_view a, std::string_view b) { return a.size() == b.size() && CompareNames(a, b) == 0; }

std::string NearestName(const std::vector<std::string>& known, std::string_view wanted) {
  constexpr size_t kComparedBytesMax = 300;  // A name as long as a book costs no more than one that could be right.
  std::string nearest;
  size_t nearest_distance = SIZE_MAX;
  for (const std::string& name : known) {
    const size_t distance = EditDistance(wanted.substr(0, kComparedBytesMax), name);
    if (distance >= nearest_distance) continue;
    nearest_distance = distance;
    nearest = name;
  }
  return nearest;
}

}  // namespace sheaf::store
