#include "compact/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace sheaf::compact {
namespace {

using Parts = std::vector<const PartFacts*>;

bool Overlaps(const PartFacts& part, const std::string& key_min, const std::string& key_max) {
  return part.key_min <= key_max && key_min <= part.key_max;
}

int64_t BytesOf(const Parts& parts) {
  int64_t bytes = 0;
  for (const PartFacts* part : parts) bytes += part->bytes;
  return bytes;
}

bool AnyBusy(const Parts& parts) {
  return std::any_of(parts.begin(), parts.end(), [](const PartFacts* part) { return part->busy; });
}

/// A step that could be taken, and how much it is needed: from 1 on it is.
struct Candidate {
  double score = 0;
  Merge merge;
};

/// One look at all parts.
class Planner {
 public:
  Planner(std::span<const PartFacts> parts, int64_t now_ns, const PlanOptions& options) : now_ns_(now_ns), options_(options) {
    for (const PartFacts& part : parts) levels_[LevelOf(part)].push_back(&part);
    const auto by_age = [](const PartFacts* a, const PartFacts* b) {
      return std::pair(a->created_ns, a->id) < std::pair(b->created_ns, b->id);
    };
    const auto by_key = [](const PartFacts* a, const PartFacts* b) {
      return std::tie(a->key_min, a->id) < std::tie(b->key_min, b->id);
    };
    std::sort(levels_[0].begin(), levels_[0].end(), by_age);
    for (size_t level = 1; level < levels_.size(); ++level) std::sort(levels_[level].begin(), levels_[level].end(), by_key);
  }

  std::optional<Merge> Next() {
    if (auto dead = DropDead()) return dead;
    std::optional<Candidate> best;
    const auto offer = [&best](std::optional<Candidate> candidate) {
      if (candidate && candidate->score >= 1 && (!best || candidate->score > best->score)) best = std::move(candidate);
    };
    offer(DeadShare());
    offer(LevelZero());
    for (int level = 1; level + 1 < kLevels; ++level) offer(Level(level));
    if (best) return std::move(best->merge);
    return ByAge();
  }

 private:
  static size_t LevelOf(const PartFacts& part) {
    return part.level < 0 || part.level >= kLevels ? kLevels - 1 : static_cast<size_t>(part.level);
  }

  parts::Format FormatAt(int level) const {
    return level >= options_.cold_from_level ? parts::Format::kCold : parts::Format::kHot;
  }

  /// Of a level below 0, where parts lie in key order.
  Parts OverlapsIn(int level, const std::string& key_min, const std::string& key_max) const {
    const Parts& all = levels_[static_cast<size_t>(level)];
    auto at = std::partition_point(all.begin(), all.end(), [&](const PartFacts* part) { return part->key_max < key_min; });
    Parts out;
    for (; at != all.end() && (*at)->key_min <= key_max; ++at) out.push_back(*at);
    return out;
  }
  Parts OverlapsIn(int level, const PartFacts& part) const { return OverlapsIn(level, part.key_min, part.key_max); }
  /// Of the whole range from the first key to the last: outputs may have any key between them.
  Parts OverlapsRange(int level, const Parts& with) const {
    const std::string* key_min = &with.front()->key_min;
    const std::string* key_max = &with.front()->key_max;
    for (const PartFacts* part : with) {
      key_min = std::min(key_min, &part->key_min, [](const auto* a, const auto* b) { return *a < *b; });
      key_max = std::max(key_max, &part->key_max, [](const auto* a, const auto* b) { return *a < *b; });
    }
    return OverlapsIn(level, *key_min, *key_max);
  }

  Merge MergeOf(const Parts& inputs, int level, std::string reason) const {
    Merge out{.output_level = level, .output_format = FormatAt(level), .reason = std::move(reason)};
    for (const PartFacts* part : inputs) out.inputs.push_back(part->id);
    return out;
  }

  /// Parts of which nothing is left cost nothing to remove.
  std::optional<Merge> DropDead() const {
    Parts dead;
    for (const Parts& level : levels_) {
      for (const PartFacts* part : level) {
        if (!part->busy && part->dead_rows >= part->rows) dead.push_back(part);
      }
    }
    if (dead.empty()) return {};
    Merge out = MergeOf(dead, dead.front()->level, fmt::format("{} parts without a row alive", dead.size()));
    out.drop_only = true;
    return out;
  }

  /// The part with the largest share of dead rows, alone; with neighbours that are small or half dead too, so that parts do not
  /// become ever smaller. In level 0: all that have many.
  std::optional<Candidate> DeadShare() const {
    const PartFacts* worst = nullptr;
    int64_t bytes = 0;
    double dead_bytes = 0;
    for (const Parts& level : levels_) {
      for (const PartFacts* part : level) {
        bytes += part->bytes;
        dead_bytes += static_cast<double>(part->bytes) * part->dead_share();
        if (!part->busy && part->dead_share() >= options_.dead_share_max &&
            (worst == nullptr || part->dead_share() > worst->dead_share()))
          worst = part;
      }
    }
    if (worst == nullptr) return {};
    const int level = static_cast<int>(LevelOf(*worst));
    Parts inputs = level == 0 ? HalfDeadOfLevelZero() : WithNeighbours(level, worst);
    Candidate out;
    // What is dead in a few parts only can wait for the merge that takes them down: until then it costs less than writing them twice.
    out.score = worst->dead_share() / options_.part_dead_share_max;
    // Before all else where much is dead all over; while writers wait for level 0, only once space comes close to half as much again.
    const double dead_share_all = dead_bytes / static_cast<double>(std::max<int64_t>(bytes, 1));
    const double bound = levels_[0].size() < kStallLevel0Parts ? options_.dead_share_max : options_.dead_share_max * 1.2;
    if (dead_share_all >= bound) out.score = std::numeric_limits<double>::infinity();
    out.merge =
        MergeOf(inputs, level,
                fmt::format("level {}: {:.0f} % of the rows of part {} are dead", level, worst->dead_share() * 100, worst->id));
    out.merge.output_format = worst->format == parts::Format::kCold ? worst->format : FormatAt(level);
    return out;
  }
  Parts HalfDeadOfLevelZero() const {
    Parts out;
    for (const PartFacts* part : levels_[0]) {
      if (!part->busy && part->dead_share() >= options_.dead_share_max) out.push_back(part);
    }
    return out;
  }
  Parts WithNeighbours(int level, const PartFacts* part) const {
    const Parts& all = levels_[static_cast<size_t>(level)];
    const auto at = std::find(all.begin(), all.end(), part);
    auto begin = at, end = at + 1;
    int64_t bytes = part->alive_bytes();
    const auto takes = [&](const PartFacts* other) {
      const bool small = other->alive_bytes() < options_.output_bytes / 2 || other->dead_share() >= options_.dead_share_max;
      if (other->busy || !small || bytes + other->alive_bytes() > options_.output_bytes) return false;
      bytes += other->alive_bytes();
      return true;
    };
    while (end != all.end() && takes(*end)) ++end;
    while (begin != all.begin() && takes(*(begin - 1))) --begin;
    return Parts(begin, end);
  }

  std::optional<Candidate> LevelZero() const {
    const Parts& all = levels_[0];
    if (all.empty() || AnyBusy(all)) return {};  // One at a time: any two may share keys.
    double score = static_cast<double>(all.size()) / options_.level0_parts;
    if (score < 1) return {};
    // While no writer waits for it, levels that are too large go first: what they hold too much would be written again by this merge.
    if (all.size() < kStallLevel0Parts) score = 1;
    const std::string reason = fmt::format("level 0 has {} parts", all.size());
    const Parts below = OverlapsRange(1, all);
    const bool much_below = BytesOf(all) < options_.memtable_bytes && BytesOf(below) > 2 * BytesOf(all);
    std::optional<Merge> merge;
    if (AnyBusy(below) || (much_below && all.size() < kStallLevel0Parts)) merge = WithinZero(reason);
    if (!merge && !AnyBusy(below)) merge = DownFromZero(below, reason);
    if (!merge) return {};
    return Candidate{score, std::move(*merge)};
  }

  /// Small parts, which were sealed early, into one that stays in level 0: further down much would be written again for little.
  /// A part as large as the others together stays as it is, so that a row is written as often as the sizes double.
  std::optional<Merge> WithinZero(const std::string& reason) const {
    const int64_t bytes = BytesOf(levels_[0]);
    Parts small;
    for (const PartFacts* part : levels_[0]) {
      if (part->bytes <= bytes / 2) small.push_back(part);
    }
    if (small.size() < 2 || BytesOf(small) >= options_.memtable_bytes) return {};
    return MergeOf(small, 0, reason + ", small ones");
  }

  /// All of level 0 into level 1, where it overlaps `below`.
  Merge DownFromZero(const Parts& below, const std::string& reason) const {
    const Parts& all = levels_[0];
    if (below.empty() && IsMove(all, 1)) {
      Merge move = MergeOf(all, 1, reason + ", which overlap nothing");
      move.move_only = true;
      return move;
    }
    Parts inputs = all;
    inputs.insert(inputs.end(), below.begin(), below.end());
    return MergeOf(inputs, 1, reason);
  }

  /// Whether the parts, which overlap nothing in `level`, may stand there as they are.
  bool IsMove(const Parts& parts, int level) const {
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i]->format != FormatAt(level) || parts[i]->dead_share() >= options_.dead_share_max / 2) return false;
      for (size_t j = 0; j < i; ++j) {
        if (Overlaps(*parts[i], parts[j]->key_min, parts[j]->key_max)) return false;
      }
    }
    return true;
  }

  /// The part that brings most down for what has to be written with it; of those, the oldest.
  std::optional<Candidate> Level(int level) const {
    int64_t bytes = 0;
    for (const PartFacts* part : levels_[static_cast<size_t>(level)]) bytes += part->busy ? 0 : part->bytes;
    const double score = static_cast<double>(bytes) / static_cast<double>(LevelBytes(level, options_));
    if (score < 1) return {};
    const PartFacts* best = nullptr;
    Parts best_below;
    double best_cost = 0;
    for (const PartFacts* part : levels_[static_cast<size_t>(level)]) {
      if (part->busy) continue;
      Parts below = OverlapsIn(level + 1, *part);
      if (AnyBusy(below)) continue;
      const double cost = static_cast<double>(BytesOf(below)) / static_cast<double>(std::max<int64_t>(part->bytes, 1));
      const bool better = best == nullptr || cost < best_cost ||
                          (cost == best_cost && std::pair(part->created_ns, part->id) < std::pair(best->created_ns, best->id));
      if (!better) continue;
      best = part;
      best_cost = cost;
      best_below = std::move(below);
    }
    if (best == nullptr) return {};
    Parts inputs{best};
    const bool move = best_below.empty() && IsMove(inputs, level + 1);
    inputs.insert(inputs.end(), best_below.begin(), best_below.end());
    Candidate out{score, MergeOf(inputs, level + 1, fmt::format("level {} has {:.1f} times its size", level, score))};
    out.merge.move_only = move;
    return out;
  }

  /// Hot parts that nobody changed for long become cold; what lies in level 0 goes down first.
  std::optional<Merge> ByAge() const {
    if (!options_.cold_after_ns) return {};
    const auto old = [&](const PartFacts* part) {
      return !part->busy && part->format == parts::Format::kHot && part->created_ns <= now_ns_ - *options_.cold_after_ns;
    };
    const Parts& zero = levels_[0];
    if (!zero.empty() && std::all_of(zero.begin(), zero.end(), old)) {
      if (const Parts below = OverlapsRange(1, zero); !AnyBusy(below)) {
        Merge out = DownFromZero(below, "level 0 is old");
        out.output_format = parts::Format::kCold;
        out.move_only = false;
        return out;
      }
    }
    for (size_t level = 1; level < levels_.size(); ++level) {
      const Parts& all = levels_[level];
      for (auto at = all.begin(); at != all.end(); ++at) {
        if (!old(*at)) continue;
        auto end = at + 1;
        int64_t bytes = (*at)->alive_bytes();
        while (end != all.end() && old(*end) && bytes + (*end)->alive_bytes() <= options_.output_bytes)
          bytes += (*end++)->alive_bytes();
        Merge out = MergeOf(Parts(at, end), static_cast<int>(level), fmt::format("level {}: hot parts are old", level));
        out.output_format = parts::Format::kCold;
        return out;
      }
    }
    return {};
  }

  const int64_t now_ns_;
  const PlanOptions& options_;
  std::array<Parts, kLevels> levels_;
};

/// 0 up to `from`, 1 at `full`, and on with the square.
double Excess(double value, double from, double full) {
  const double x = std::max(0.0, value - from) / (full - from);
  return x * x;
}

}  // namespace

std::optional<Merge> NextMerge(std::span<const PartFacts> parts, int64_t now_ns, const PlanOptions& options) {
  return Planner(parts, now_ns, options).Next();
}

int64_t LevelBytes(int level, const PlanOptions& options) {
  if (level >= kLevels - 1) return std::numeric_limits<int64_t>::max();
  int64_t bytes = options.level1_bytes;
  for (int l = 1; l < level; ++l) {
    if (bytes > std::numeric_limits<int64_t>::max() / options.level_factor) return std::numeric_limits<int64_t>::max();
    bytes *= options.level_factor;
  }
  return bytes;
}

Stall WriteStall(int level0_parts, double memory_fraction) {
  Stall out;
  out.refuse = level0_parts >= kRefuseLevel0Parts || memory_fraction >= kRefuseMemory;
  const double excess = std::max(Excess(level0_parts, kStallLevel0Parts, kFullStallLevel0Parts),
                                 Excess(memory_fraction, kStallMemory, kFullStallMemory));
  out.delay_us = std::llround(static_cast<double>(kStallFullUs) * excess);
  return out;
}

}  // namespace sheaf::compact
