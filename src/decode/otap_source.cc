#include "decode/otap_source.h"

#include <algorithm>

namespace sheaf::decode {
namespace {

/// A dictionary with many more values than there are rows is not worth a table of its values.
constexpr int64_t kValuesPerRow = 2, kValuesFree = 1024;
bool IsSparse(int64_t values, int64_t rows) { return values > kValuesPerRow * rows + kValuesFree; }

/// Where items of a list begin and end, for all rows of a run.
ListView ListOf(const OtapArrays& lists, const OtapRun& run) { return ListView(*lists[static_cast<size_t>(run.source)]); }

/// Calls copy(items, begin, end, at) for the items of each run, which are to stand from `at` on, after their offsets are written.
template <typename Copy>
void CopyItems(const OtapArrays& from, const OtapRuns& rows, int32_t* offsets, Copy&& copy) {
  int32_t at = 0;
  *offsets++ = 0;
  for (const OtapRun& run : rows.runs()) {
    const ListView list = ListOf(from, run);
    const int64_t begin = list.begin(run.begin), end = list.begin(run.begin + run.n);
    for (int64_t i = 1; i <= run.n; ++i) *offsets++ = at + static_cast<int32_t>(list.begin(run.begin + i) - begin);
    copy(list, begin, end, at);
    at += static_cast<int32_t>(end - begin);
  }
}

int64_t CountItems(const OtapArrays& from, const OtapRuns& rows) {
  int64_t items = 0;
  for (const OtapRun& run : rows.runs()) {
    const ListView list = ListOf(from, run);
    items += list.begin(run.begin + run.n) - list.begin(run.begin);
  }
  CheckOffset(items);
  return items;
}

}  // namespace

OtapArrays ColumnsOf(std::span<const TableBatch> tables, const char* name) {
  OtapArrays out;
  for (const TableBatch& table : tables) out.push_back(table.batch->GetColumnByName(name).get());
  return out;
}

OtapArrays ItemFieldsOf(const OtapArrays& lists, int field) {
  OtapArrays out;
  for (const arrow::Array* list : lists) out.push_back(list == nullptr ? nullptr : &ListView(*list).field(field));
  return out;
}

void CopyPresence(const OtapArrays& from, const OtapRuns& rows, uint8_t* out) {
  for (const OtapRun& run : rows.runs()) {
    const arrow::Array& array = *from[static_cast<size_t>(run.source)];
    if (array.null_count() == 0) {
      std::fill(out, out + run.n, uint8_t{1});
    } else {
      for (int64_t i = 0; i < run.n; ++i) out[i] = array.IsValid(run.begin + i);
    }
    out += run.n;
  }
}

void CopyBools(const OtapArrays& from, const OtapRuns& rows, uint8_t* out) {
  for (const OtapRun& run : rows.runs()) {
    const BoolView bools(*from[static_cast<size_t>(run.source)]);
    for (int64_t i = 0; i < run.n; ++i) *out++ = bools[run.begin + i];
  }
}

void CopyRepeatedText(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out) {
  std::vector<std::vector<int32_t>> ids(from.size());  // By source and its value: the number in `out`'s dictionary.
  for (const OtapRun& run : rows.runs()) {
    const DictionaryView view(*from[static_cast<size_t>(run.source)]);
    const int64_t values = view.values().length();
    if (!out->dictionary() || IsSparse(values, rows.rows())) {
      for (int64_t row = run.begin; row < run.begin + run.n; ++row) out->Put(view[row]);
      continue;
    }
    std::vector<int32_t>& known = ids[static_cast<size_t>(run.source)];
    if (known.empty()) known.assign(static_cast<size_t>(values), -1);
    for (int64_t row = run.begin; row < run.begin + run.n; ++row) {
      int32_t& id = known[static_cast<size_t>(view.id(row))];
      if (id < 0) id = out->Id(view[row]);
      out->PutId(id);
    }
  }
}

void CopyText(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out) {
  std::string_view last;
  int32_t last_id = -1;
  for (const OtapRun& run : rows.runs()) {
    const BytesView texts(*from[static_cast<size_t>(run.source)]);
    for (int64_t row = run.begin; row < run.begin + run.n; ++row) {
      const std::string_view text = texts[row].value_or(std::string_view());
      if (!out->dictionary()) {
        out->Put(text);
        continue;
      }
      if (last_id < 0 || text != last) last_id = out->Id(text);
      last = text;
      out->PutId(last_id);
    }
  }
}

Status CopyEnum(const OtapArrays& from, const OtapRuns& rows, const EnumNames& names, int32_t* out) {
  constexpr int64_t kUnknown = std::numeric_limits<int64_t>::min();
  std::vector<std::vector<int64_t>> numbers(from.size());
  for (const OtapRun& run : rows.runs()) {
    const DictionaryView view(*from[static_cast<size_t>(run.source)]);
    std::vector<int64_t>& known = numbers[static_cast<size_t>(run.source)];
    if (known.empty()) known.assign(static_cast<size_t>(view.values().length()), kUnknown);
    for (int64_t row = run.begin; row < run.begin + run.n; ++row) {
      int64_t& number = known[static_cast<size_t>(view.id(row))];
      if (number == kUnknown) {
        int32_t parsed = 0;
        if (!names.Parse(view[row], &parsed))
          return MakeError(ErrorKind::kInvalid, "row {}: '{}' is neither an enum's name nor a number", row, view[row]);
        number = parsed;
      }
      *out++ = static_cast<int32_t>(number);
    }
  }
  return Status::OK();
}

void CopyLists(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out) {
  int32_t* offsets = out->Offsets();
  uint64_t* items = out->Items(CountItems(from, rows));
  CopyItems(from, rows, offsets, [&](const ListView& list, int64_t begin, int64_t end, int32_t at) {
    const auto* numbers = list.items().data()->GetValues<uint64_t>(1);
    if (end > begin) std::memcpy(items + at, numbers + begin, static_cast<size_t>(end - begin) * sizeof(uint64_t));
  });
}

void CopyQuantiles(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out) {
  int32_t* offsets = out->Offsets();
  const int64_t n = CountItems(from, rows);
  uint64_t* items[] = {out->Items(n, 0), out->Items(n, 1)};
  CopyItems(from, rows, offsets, [&](const ListView& list, int64_t begin, int64_t end, int32_t at) {
    for (int part = 0; part < 2 && end > begin; ++part) {
      const auto* numbers = list.field(part).data()->GetValues<uint64_t>(1);
      std::memcpy(items[part] + at, numbers + begin, static_cast<size_t>(end - begin) * sizeof(uint64_t));
    }
  });
}

}  // namespace sheaf::decode
