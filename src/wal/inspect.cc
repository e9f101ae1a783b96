#include "wal/inspect.h"

#include <algorithm>
#include <optional>
#include <ostream>

#include "core/hex.h"
#include "wal/commit_file.h"
#include "wal/format.h"
#include "wal/segment_reader.h"
#include "wal/segments.h"

namespace sheaf::wal {
namespace {

std::string HexOf(const std::array<uint8_t, 16>& id) {
  return ToHex(std::string_view(reinterpret_cast<const char*>(id.data()), id.size()));
}

const char* NameOf(TailState state) { return state == TailState::kBlank ? "end" : "damaged or torn"; }

Status InspectCommit(std::span<const std::byte> bytes, std::ostream* out) {
  for (size_t slot = 0; slot < 2; ++slot) {
    const size_t from = std::min(bytes.size(), slot * kPageBytes);
    const std::optional<CommitSlot> found = DecodeCommitSlot(bytes.subspan(from));
    if (found) {
      *out << fmt::format("slot {}: sequence {}, durable LSN {}, {}, database {}\n", slot, found->sequence, found->durable_lsn,
                          found->closed == 1 ? "cleanly closed" : "open", HexOf(found->database_id));
    } else {
      *out << fmt::format("slot {}: damaged\n", slot);
    }
  }
  return Status::OK();
}

void PrintBlock(const Block& block, int64_t offset, bool entries, std::ostream* out) {
  const BlockHeader& header = block.header;
  *out << fmt::format("block at {}: {} bytes, epoch {}, LSN {} to {}, durable before {}, chain {:08x} to {:08x}\n", offset,
                      header.block_bytes, header.epoch, header.first_lsn, header.first_lsn + header.entries - 1, header.durable_lsn,
                      header.chain, block.chain);
  if (!entries) return;
  for (const LoggedEntry& entry : block.entries) {
    *out << fmt::format("  entry {}: type {}, time_ns {}, payload {} bytes, batch id \"{}\"\n", entry.lsn, entry.entry.type, entry.time_ns,
                        entry.entry.payload->size(), ToHex(entry.entry.batch_id));
  }
}

Status InspectSegment(SegmentReader* reader, bool entries, std::ostream* out) {
  const Result<SegmentHeader> header = reader->ReadHeader();
  if (!header.ok()) {
    *out << header.status().message() << "\n";
    return IsDamage(header.status()) ? Status::OK() : header.status();
  }
  *out << fmt::format("segment: format {}, first LSN {}, epoch {}, salt {:016x}, chain {:08x}, created_ns {}, database {}, node {}\n",
                      header->version, header->first_lsn, header->epoch, header->salt, header->chain, header->created_ns,
                      HexOf(header->database_id), HexOf(header->node_id));
  reader->Seek({Lsn(header->first_lsn), kPageBytes, header->chain}, header->salt);
  while (true) {
    const int64_t offset = reader->mark().offset;
    const Result<std::optional<Block>> block = reader->Next();
    if (!block.ok()) {
      *out << block.status().message() << "\n";
      return IsDamage(block.status()) ? Status::OK() : block.status();
    }
    if (!block->has_value()) break;
    PrintBlock(**block, offset, entries, out);
  }
  *out << fmt::format("{} at {} of {}: {}\n", NameOf(reader->tail().state), reader->tail().offset, reader->file_bytes(),
                      reader->tail().reason);
  return Status::OK();
}

/// Reads one segment to its end and adds what it holds to `found`. `next` and `chain` go on from segment
/// to segment; `end` is the first LSN of the segment after it.
class Verification {
 public:
  explicit Verification(io::FileSystem* files) : files_(files) {}

  Status Check(const SegmentFile& file, std::optional<Lsn> end, LogVerification* found) {
    SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader, SegmentReader::Open(files_, file.path));
    const Result<SegmentHeader> header = reader->ReadHeader();
    if (!header.ok() && !IsDamage(header.status())) return header.status();
    if (!header.ok()) {
      found->problems.push_back(header.status().message());
      next_.reset();  // The next segment is checked on its own.
      return Status::OK();
    }
    if (header->first_lsn != file.first.value || (next_ && (*next_ != file.first || chain_ != header->chain))) {
      found->problems.push_back(fmt::format("{} does not continue the segment before it", file.path));
    }
    reader->Seek({file.first, kPageBytes, header->chain}, header->salt);
    SHEAF_RETURN_NOT_OK(CheckBlocks(reader.get(), end, found));
    next_ = reader->mark().next;
    chain_ = reader->mark().chain;
    if (!end) return CheckTail(reader.get(), header->salt, found);
    if (*next_ < *end) {
      found->problems.push_back(fmt::format("{} at offset {}: {}; LSN {} to {} are lost", file.path, reader->tail().offset,
                                            reader->tail().reason, *next_, end->value - 1));
      next_.reset();
    }
    return Status::OK();
  }

  Lsn next() const { return next_.value_or(Lsn(0)); }

 private:
  static Status CheckBlocks(SegmentReader* reader, std::optional<Lsn> end, LogVerification* found) {
    ++found->segments;
    while (!end || reader->mark().next < *end) {
      const Result<std::optional<Block>> block = reader->Next();
      if (!block.ok() && !IsDamage(block.status())) return block.status();
      if (!block.ok()) found->problems.push_back(block.status().message());
      if (!block.ok() || !block->has_value()) break;
      ++found->blocks;
      for (const LoggedEntry& entry : (*block)->entries) {
        if (found->entries++ == 0) found->first = entry.lsn;
        found->last = entry.lsn;
        found->payload_bytes += entry.entry.payload->size();
      }
    }
    return Status::OK();
  }

  static Status CheckTail(SegmentReader* reader, uint64_t salt, LogVerification* found) {
    found->torn_bytes = reader->tail().bytes;
    SHEAF_ASSIGN_OR_RETURN(const std::optional<Lsn> later,
                           reader->FindLaterBlock(reader->tail().offset + kPageBytes, salt, reader->mark().next));
    if (later) {
      found->problems.push_back(fmt::format("{} at offset {}: {}, and a block with LSN {} follows", reader->path(), reader->tail().offset,
                                            reader->tail().reason, *later));
    }
    return Status::OK();
  }

  io::FileSystem* const files_;  // Borrowed.
  std::optional<Lsn> next_;      // What the next segment must begin with.
  uint32_t chain_ = 0;
};

}  // namespace

Status InspectLogFile(io::FileSystem* files, const std::string& path, bool entries, std::ostream* out) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name == "COMMIT") {
    SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Buffer> bytes, io::ReadFile(files, path, 1 << 20));
    return InspectCommit({reinterpret_cast<const std::byte*>(bytes->data()), static_cast<size_t>(bytes->size())}, out);
  }
  if (!ParseSegmentName(name)) return MakeError(ErrorKind::kInvalid, "{} is neither a log segment nor a COMMIT file", path);
  SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader, SegmentReader::Open(files, path));
  return InspectSegment(reader.get(), entries, out);
}

Result<LogVerification> VerifyLog(io::FileSystem* files, const std::string& directory) {
  LogVerification found;
  SHEAF_ASSIGN_OR_RETURN(const std::vector<SegmentFile> segments, ListSegments(files, directory));
  Verification verification(files);
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool newest = i + 1 == segments.size();
    SHEAF_RETURN_NOT_OK(verification.Check(segments[i], newest ? std::nullopt : std::optional(segments[i + 1].first), &found));
  }
  const Result<std::optional<CommitState>> commit = ReadCommitFile(files, io::Join(directory, "COMMIT"), {});
  if (!commit.ok() && !IsDamage(commit.status())) return commit.status();
  if (!commit.ok()) found.problems.push_back(commit.status().message());
  const bool lost = commit.ok() && commit->has_value() && !segments.empty() && (*commit)->durable >= verification.next();
  if (lost && found.problems.empty()) {
    found.problems.push_back(fmt::format("{}: the log ends before LSN {}, but COMMIT says that {} is stored", directory,
                                         verification.next(), (*commit)->durable));
  }
  return found;
}

}  // namespace sheaf::wal
