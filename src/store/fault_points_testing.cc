#include "store/fault_points_testing.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <span>
#include <utility>

#include <gtest/gtest.h>

namespace sheaf::store {
namespace {

constexpr const char* kNames[] = {"open", "read",   "write", "allocate",         "truncate",       "sync", "map",
                                  "rename", "link", "remove", "make directories", "sync directory", "list", "lock"};

std::string SortOf(const std::string& what, const std::string& path) {
  std::string sort = what + " ";
  for (const char c : path) {
    const bool digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    if (!digit) sort += c;
    if (digit && sort.back() != '#') sort += '#';
  }
  return sort;
}

class ShortFile : public io::File {
 public:
  explicit ShortFile(std::unique_ptr<io::File> file) : file_(std::move(file)) {}

  Result<int64_t> ReadAt(int64_t offset, std::span<std::byte> out) override { return file_->ReadAt(offset, out); }
  Status WriteAt(int64_t offset, std::span<const std::span<const std::byte>> parts) override { return file_->WriteAt(offset, parts); }
  Status Allocate(int64_t length) override { return file_->Allocate(std::min(length, int64_t{1} << 20)); }
  Status Truncate(int64_t length) override { return file_->Truncate(length); }
  Status SyncData() override { return file_->SyncData(); }
  Status Sync() override { return file_->Sync(); }
  Result<int64_t> Size() override { return file_->Size(); }
  Result<std::shared_ptr<arrow::Buffer>> Map(int64_t length, io::Access access) override { return file_->Map(length, access); }
  Status BypassCache() override { return file_->BypassCache(); }
  Status Close() override { return file_->Close(); }
  const std::string& path() const override { return file_->path(); }

 private:
  const std::unique_ptr<io::File> file_;
};

}  // namespace

DiskImage ImageOf(io::SimFileSystem* disk, const std::string& folder) {
  DiskImage image;
  const auto list = disk->List(folder).ValueOrDie();
  for (const io::FileInfo& file : list) {
    const std::string path = io::Join(folder, file.name);
    if (file.is_directory) {
      image.merge(ImageOf(disk, path));
    } else {
      image[path] = disk->Contents(path).ValueOrDie();
    }
  }
  return image;
}

std::unique_ptr<io::SimFileSystem> DiskOf(const DiskImage& image) {
  auto disk = std::make_unique<io::SimFileSystem>();
  for (const auto& [path, bytes] : image) {
    if (!disk->MakeDirectories(path.substr(0, path.rfind('/'))).ok()) return nullptr;
    disk->SetContents(path, bytes);
  }
  return disk;
}

void FaultPoints::Run(ErrorKind error, const Which& which, bool last, const std::function<void()>& body) {
  {
    MutexLock lock(&mutex_);
    fault_.reset();
  }
  body();
  std::map<std::string, int> seen;
  {
    MutexLock lock(&mutex_);
    seen = seen_;
  }
  for (const auto& [sort, count] : seen) {
    if (!which(sort)) continue;
    for (const int nth : std::set<int>{1, last ? count : 1}) {
      SCOPED_TRACE(fmt::format("number {} of {} of '{}' fails: {}", nth, count, sort, ErrorKindName(error)));
      {
        MutexLock lock(&mutex_);
        fault_ = Fault{sort, nth, error};
      }
      body();
      if (testing::Test::HasFailure()) return;
    }
  }
}

void FaultPoints::Begin(io::SimFileSystem* disk) {
  disk_ = disk;
  disk_->SetFaultHook([this](const io::SimOperation& operation) {
    return See(SortOf(kNames[static_cast<size_t>(operation.kind)], operation.path));
  });
  MutexLock lock(&mutex_);
  seen_.clear();
  failed_ = false;
  counting_ = true;
}

void FaultPoints::End() {
  MutexLock lock(&mutex_);
  counting_ = false;
}

bool FaultPoints::failed() const {
  MutexLock lock(&mutex_);
  return failed_;
}

std::string FaultPoints::what() const {
  MutexLock lock(&mutex_);
  return failed_ ? fault_->sort : "";
}

Status FaultPoints::See(const std::string& sort) {
  MutexLock lock(&mutex_);
  if (!counting_) return Status::OK();
  const int number = ++seen_[sort];
  if (!fault_ || fault_->sort != sort || fault_->nth != number) return Status::OK();
  failed_ = true;
  return MakeError(fault_->error, "injected");
}

Result<std::unique_ptr<io::File>> FaultPoints::Open(const std::string& path, io::OpenMode mode) {
  SHEAF_ASSIGN_OR_RETURN(auto file, disk_->Open(path, mode));
  return std::make_unique<ShortFile>(std::move(file));
}

Result<io::FileInfo> FaultPoints::Stat(const std::string& path) {
  SHEAF_RETURN_NOT_OK(See(SortOf("stat", path)));
  return disk_->Stat(path);
}

bool OnlyReads(const std::string& sort) {
  for (const char* name : {"open ", "read ", "map ", "list ", "stat "}) {
    if (sort.starts_with(name)) return true;
  }
  return false;
}

}  // namespace sheaf::store
