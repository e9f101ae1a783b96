/// Manifests that are wrong although their digest is right: refused, each with what is wrong with it.

#include <functional>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "core/crc32c.h"
#include "parts/byte_codec.h"
#include "parts/manifest.h"

namespace sheaf::parts {
namespace {

using testing::HasSubstr;

constexpr uint32_t kState = 1, kTable = 2, kPart = 3, kEnd = 4;
constexpr size_t kPrefixBytes = 12, kDigestBytes = 16;

ManifestState Small() {
  ManifestState state;
  state.number = 3;
  state.database_uuid = "0123456789abcdef";
  PartInfo part;
  part.id = PartId(7);
  part.file_name = "part-7.arrow";
  part.rows = 10;
  state.parts.push_back(part);
  return state;
}

/// `body` with the digest that belongs to it.
std::string WithDigest(std::string body) {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(body.data(), body.size()));
  return body.append(reinterpret_cast<const char*>(digest.digest), sizeof digest.digest);
}

std::string Record(uint32_t kind, const std::string& payload) {
  std::string frame, out;
  ByteWriter writer(&frame);
  writer.Number(static_cast<uint32_t>(payload.size()));
  writer.Number(kind);
  writer.Raw(payload);
  ByteWriter(&out).Number(Crc32c(std::as_bytes(std::span(frame.data(), frame.size()))));
  return out + frame;
}

std::string Count(uint64_t records) {
  std::string out;
  ByteWriter(&out).Number(records);
  return out;
}

/// The payload of a manifest's first record, and what stands before it.
std::string StatePayload() { return EncodeManifest(Small()).substr(kPrefixBytes + 12, 8 + 16 + 5 * 8 + 4); }
std::string Prefix() { return EncodeManifest(Small()).substr(0, kPrefixBytes); }

void ExpectDamaged(const std::string& bytes, const char* what) {
  const Status refused = DecodeManifest(bytes).status();
  ASSERT_FALSE(refused.ok()) << what;
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption) << what;
  EXPECT_THAT(refused.message(), HasSubstr(what));
}

TEST(ManifestCodec, RecordsThatMakeNoSenseAreRefused) {
  const std::string state = Record(kState, StatePayload()), end = Record(kEnd, Count(1));
  const auto file = [](const std::string& records) { return WithDigest(Prefix() + records); };
  ASSERT_TRUE(DecodeManifest(file(state + end)).ok()) << DecodeManifest(file(state + end)).status().ToString();

  ExpectDamaged(file(state + end + end), "something follows the end");
  ExpectDamaged(file(state + "cut"), "a record is cut off");
  ExpectDamaged(file(state), "its end is missing");
  std::string bad = state + end;
  bad[4] ^= 1;
  ExpectDamaged(file(bad), "a record's CRC does not match");
  bad = state + end;
  bad[7] = 0x7F;
  ExpectDamaged(file(bad), "a record is longer than the file");

  ExpectDamaged(file(Record(kState, StatePayload().substr(1)) + end), "a record makes no sense");
  ExpectDamaged(file(Record(kState, StatePayload() + "more") + end), "a record makes no sense");
  ExpectDamaged(file(Record(kTable, "") + end), "a record makes no sense");
  ExpectDamaged(file(end), "a record makes no sense");
  ExpectDamaged(file(state + state + Record(kEnd, Count(2))), "a record makes no sense");
  ExpectDamaged(file(state + Record(kEnd, Count(2))), "a record makes no sense");
  ExpectDamaged(file(state + Record(kTable, "short") + Record(kEnd, Count(2))), "a record makes no sense");
}

TEST(ManifestCodec, WhatALaterProgramWroteIsUnsupportedAndNoDamage) {
  const std::string state = Record(kState, StatePayload()), end = Record(kEnd, Count(1));
  EXPECT_EQ(KindOf(DecodeManifest(WithDigest(Prefix() + state + Record(5, "") + end)).status()), ErrorKind::kUnsupported);
  std::string later = Prefix();
  later[8] = 3;
  EXPECT_EQ(KindOf(DecodeManifest(WithDigest(later + state + end)).status()), ErrorKind::kUnsupported);
}

TEST(ManifestCodec, WhatIsNoManifestIsRefused) {
  const std::string good = EncodeManifest(Small());
  ExpectDamaged(good.substr(0, kPrefixBytes + kDigestBytes - 1), "it is no manifest");
  ExpectDamaged("X" + good.substr(1), "it is no manifest");
  ExpectDamaged(good.substr(0, good.size() - 1), "the digest of the whole does not match");
}

TEST(ManifestCodec, PartsThatCannotBeAreRefused) {
  const std::function<void(PartInfo*)> changes[] = {
      [](PartInfo* p) { p->dead_rows = -1; },
      [](PartInfo* p) { p->dead_rows = 11; },
      [](PartInfo* p) { p->rows = -1; },
      [](PartInfo* p) { p->key_min = "b", p->key_max = "a"; },
      [](PartInfo* p) { p->format = static_cast<Format>(0); },
      [](PartInfo* p) { p->format = static_cast<Format>(3); },
      [](PartInfo* p) { p->file_name = "../part-7.arrow"; },
      [](PartInfo* p) { p->dead_file = "other/part-7-1.del"; },
      [](PartInfo* p) { p->data_bytes = -1; },
      [](PartInfo* p) { p->index_bytes = -1; },
  };
  ASSERT_TRUE(DecodeManifest(EncodeManifest(Small())).ok());
  for (size_t i = 0; i < std::size(changes); ++i) {
    SCOPED_TRACE(i);
    ManifestState state = Small();
    changes[i](&state.parts[0]);
    ExpectDamaged(EncodeManifest(state), "a record makes no sense");
  }
}

}  // namespace
}  // namespace sheaf::parts
