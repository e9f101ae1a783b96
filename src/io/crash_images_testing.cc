#include "io/crash_images_testing.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "io/sim_state_testing.h"

namespace sheaf::io {
namespace {

uint64_t HashOf(std::string_view bytes) { return std::hash<std::string_view>()(bytes); }
uint64_t HashOf(const std::vector<std::byte>& bytes) { return HashOf({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); }
uint64_t Mix(uint64_t hash, uint64_t with) { return (hash ^ with) * 0x9e3779b97f4a7c15 ^ hash >> 29; }

/// Some of 0…count-1, all where they are few; the last always among them.
std::vector<size_t> Sample(size_t count, int at_most, std::mt19937_64* random) {
  std::vector<size_t> some;
  for (size_t i = 0; i < count; ++i) some.push_back(i);
  if (count <= static_cast<size_t>(at_most)) return some;
  std::shuffle(some.begin(), some.end() - 1, *random);
  std::swap(some.front(), some.back());
  some.resize(static_cast<size_t>(at_most));
  return some;
}

constexpr size_t kNamesEnumeratedMax = 4;

}  // namespace

/// A file or folder as it is on the disk at the moment, and what of it was not synced.
struct CrashImages::Shadow {
  bool is_directory = false;
  Bytes durable;
  std::optional<uint64_t> durable_hash;
  std::map<std::string, Shadow*> names;
  std::vector<std::shared_ptr<const PendingChange>> changes;
  std::vector<std::vector<std::pair<std::string, Shadow*>>> name_changes;
  size_t first = 0;  // The number of its first unsynced change among all.
};

CrashImages::CrashImages(const SimFileSystem& disk, const CrashImageOptions& options) : options_(options), random_(options.seed) {
  const StateLock lock(&disk.state_->mutex);
  SHEAF_CHECK(disk.state_->keeps_journal);
  journal_ = disk.state_->journal;
  begin_ = disk.state_->journal_begin;
  root_node_ = disk.state_->root;
  Rewind();
}

CrashImages::~CrashImages() = default;

uint64_t CrashImages::points() const { return journal_.size() - begin_ + 1; }

void CrashImages::Rewind() {
  shadows_.clear();
  root_ = ShadowOf(root_node_);
  for (point_ = 0; point_ < begin_;) Step();
  if (InPass()) PlanVariants();
}

bool CrashImages::InPass() const {
  static constexpr uint64_t kOrder[kPasses] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
  return (point_ - begin_) % kPasses == kOrder[pass_];
}

CrashImages::Shadow* CrashImages::ShadowOf(const std::shared_ptr<Node>& node) {
  if (node == nullptr) return nullptr;
  std::unique_ptr<Shadow>& shadow = shadows_[node.get()];
  if (shadow) return shadow.get();
  shadow = std::make_unique<Shadow>();
  Shadow* const made = shadow.get();
  made->is_directory = node->is_directory;
  return made;
}

/// Does to the shadows what the next entry of the journal says.
void CrashImages::Step() {
  const SimFileSystem::JournalEntry& entry = journal_[point_++];
  Shadow* const shadow = ShadowOf(entry.node);
  if (entry.change) {
    shadow->changes.push_back(entry.change);
  } else if (entry.names) {
    std::vector<std::pair<std::string, Shadow*>> change;
    for (const auto& [name, node] : *entry.names) change.emplace_back(name, ShadowOf(node));
    shadow->name_changes.push_back(std::move(change));
  } else if (!shadow->is_directory) {
    for (const auto& change : shadow->changes) change->ApplyTo(&shadow->durable);
    shadow->changes.clear();
    shadow->durable_hash.reset();
  } else {
    for (const auto& change : shadow->name_changes) {
      for (const auto& [name, node] : change) node != nullptr ? shadow->names[name] = node : (shadow->names.erase(name), nullptr);
    }
    shadow->name_changes.clear();
  }
}

/// Numbers the unsynced changes of all files that a name leads to, or may.
void CrashImages::FindPending() {
  changes_.clear();
  names_.clear();
  std::set<const Shadow*> visited;
  const std::function<void(Shadow*)> visit = [&](Shadow* shadow) {
    if (shadow == nullptr || !visited.insert(shadow).second) return;
    shadow->first = shadow->is_directory ? names_.size() : changes_.size();
    for (size_t i = 0; i < shadow->changes.size(); ++i) changes_.emplace_back(shadow, i);
    for (size_t i = 0; i < shadow->name_changes.size(); ++i) names_.emplace_back(shadow, i);
    for (const auto& [name, child] : shadow->names) visit(child);
    for (const auto& change : shadow->name_changes) {
      for (const auto& [name, child] : change) visit(child);
    }
  };
  visit(root_);
}

void CrashImages::PlanVariants() {
  FindPending();
  variants_.clear();
  PlanData();
  if (names_.empty()) return;
  // Few changes of names: each combination, with all, none and any of the bytes.
  std::vector<uint64_t> masks;
  if (names_.size() <= kNamesEnumeratedMax) {
    for (uint64_t mask = 0; mask + 1 < uint64_t{1} << names_.size(); ++mask) masks.push_back(mask);
  } else {
    masks.push_back(0);
    for (int i = 0; i < options_.each_per_point_max; ++i) masks.push_back(random_());
  }
  for (const uint64_t mask : masks) {
    const auto names = [mask](size_t i) { return (mask >> i % 64 & 1) != 0; };
    const uint64_t shown = mask & ((uint64_t{1} << std::min<size_t>(names_.size(), 63)) - 1);
    const std::string what = fmt::format("names {:#x} of {}", shown, names_.size());
    const auto apply_all = [this](size_t i, Bytes* to) { changes_[i].first->changes[changes_[i].second]->ApplyTo(to); };
    variants_.push_back({what + ", all bytes", apply_all, names});
    if (changes_.empty()) continue;
    variants_.push_back({what + ", no bytes", [](size_t, Bytes*) {}, names});
    const auto random = std::make_shared<std::mt19937_64>(random_());
    variants_.push_back({what + ", random bytes", [this, random](size_t i, Bytes* to) {
                           changes_[i].first->changes[changes_[i].second]->ApplyPart(random.get(), to);
                         }, names});
  }
}

/// Variants of the bytes, with all names.
void CrashImages::PlanData() {
  const auto change = [this](size_t i) -> const PendingChange& { return *changes_[i].first->changes[changes_[i].second]; };
  const auto add = [&](const std::string& what, std::function<void(size_t, Bytes*)> apply) {
    variants_.push_back({"all names, " + what, std::move(apply), [](size_t) { return true; }});
  };
  add("all bytes", [change](size_t i, Bytes* to) { change(i).ApplyTo(to); });
  if (changes_.empty()) return;
  add("no bytes", [](size_t, Bytes*) {});
  for (const size_t one : Sample(changes_.size(), options_.each_per_point_max, &random_)) {
    if (changes_.size() > 1) {
      add(fmt::format("all but change {}", one), [change, one](size_t i, Bytes* to) {
        if (i != one) change(i).ApplyTo(to);
      });
      add(fmt::format("change {} alone", one), [change, one](size_t i, Bytes* to) {
        if (i == one) change(i).ApplyTo(to);
      });
    }
    if (!change(one).length) {
      add(fmt::format("the length alone of change {}", one),
          [change, one](size_t i, Bytes* to) { i == one ? change(i).ApplyLength(to) : change(i).ApplyTo(to); });
    }
  }
  // The change that came last, wherever it is, is torn; each other one was when it came.
  size_t newest = changes_.size();
  if (point_ > 0 && journal_[point_ - 1].change) {
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (changes_[i].first->changes[changes_[i].second] == journal_[point_ - 1].change) newest = i;
    }
  }
  if (newest < changes_.size() && change(newest).sectors() > 1) {
    const auto sectors = static_cast<size_t>(change(newest).sectors());
    for (const size_t cut : Sample(sectors - 1, options_.each_per_point_max, &random_)) {
      const auto at = static_cast<int64_t>(cut) + 1;
      add(fmt::format("change {} through sector {}", newest, at), [change, newest, at](size_t i, Bytes* to) {
        i == newest ? change(i).ApplySectors(0, at, to) : change(i).ApplyTo(to);
      });
      add(fmt::format("change {} from sector {}", newest, at), [change, newest, at](size_t i, Bytes* to) {
        i == newest ? change(i).ApplySectors(at, change(i).sectors(), to) : change(i).ApplyTo(to);
      });
    }
  }
  for (int round = 0; round < options_.random_per_point; ++round) {
    const auto random = std::make_shared<std::mt19937_64>(random_());
    add(fmt::format("random part {}", round), [change, random](size_t i, Bytes* to) { change(i).ApplyPart(random.get(), to); });
  }
}

/// Hashes what the variant leaves, and builds it where it is new.
CrashImage CrashImages::Make(const Variant& variant) {
  std::map<const Shadow*, Bytes> changed;
  for (size_t i = 0; i < changes_.size(); ++i) {
    const Shadow* const shadow = changes_[i].first;
    const auto bytes = changed.try_emplace(shadow, shadow->durable).first;
    variant.apply(i, &bytes->second);
  }
  std::map<const Shadow*, std::map<std::string, Shadow*>> names;
  for (size_t i = 0; i < names_.size(); ++i) {
    const auto& [folder, which] = names_[i];
    auto& kept = names.try_emplace(folder, folder->names).first->second;
    if (!variant.keeps_name(i)) continue;
    for (const auto& [name, node] : folder->name_changes[which]) node != nullptr ? kept[name] = node : (kept.erase(name), nullptr);
  }
  const auto names_of = [&](const Shadow& folder) -> const std::map<std::string, Shadow*>& {
    const auto found = names.find(&folder);
    return found == names.end() ? folder.names : found->second;
  };
  const std::function<uint64_t(Shadow*)> hash_of = [&](Shadow* shadow) -> uint64_t {
    if (!shadow->is_directory) {
      if (const auto found = changed.find(shadow); found != changed.end()) return HashOf(found->second);
      if (!shadow->durable_hash) shadow->durable_hash = HashOf(shadow->durable);
      return *shadow->durable_hash;
    }
    uint64_t hash = 17;
    for (const auto& [name, child] : names_of(*shadow)) hash = Mix(Mix(hash, HashOf(name)), hash_of(child));
    return hash;
  };
  CrashImage image{point_, variant.what, hash_of(root_), nullptr};
  if (!seen_.insert(image.hash).second) return image;
  std::map<const Shadow*, std::shared_ptr<Node>> built;  // Hard links stay links.
  const std::function<std::shared_ptr<Node>(Shadow*)> build = [&](Shadow* shadow) {
    std::shared_ptr<Node>& node = built[shadow];
    if (node) return node;
    node = std::make_shared<Node>();
    const std::shared_ptr<Node> made = node;
    made->is_directory = shadow->is_directory;
    const auto found = changed.find(shadow);
    made->durable = found == changed.end() ? shadow->durable : found->second;
    made->data = made->durable;
    if (!shadow->is_directory) return made;
    for (const auto& [name, child] : names_of(*shadow)) made->entries[name] = build(child);
    made->durable_entries = made->entries;
    return made;
  };
  auto state = std::make_shared<SimFileSystem::State>();
  {
    const StateLock lock(&state->mutex);
    state->root = build(root_);
    state->random.seed(image.hash);
  }
  image.disk.reset(new SimFileSystem(std::move(state)));
  return image;
}

std::optional<CrashImage> CrashImages::Next() {
  while (variants_.empty()) {
    if (point_ < journal_.size()) {
      Step();
      if (InPass()) PlanVariants();
    } else {
      if (++pass_ == kPasses) return std::nullopt;
      Rewind();
    }
  }
  const Variant variant = std::move(variants_.back());
  variants_.pop_back();
  return Make(variant);
}

}  // namespace sheaf::io
