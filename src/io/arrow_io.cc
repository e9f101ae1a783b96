#include "io/arrow_io.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

namespace sheaf::io {
namespace {

constexpr size_t kGatherBytes = size_t{1} << 20;

class FileOutputStream : public arrow::io::OutputStream {
 public:
  FileOutputStream(File* file, int64_t offset) : file_(file), start_(offset), written_(offset) { gathered_.reserve(kGatherBytes); }

  Status Write(const void* data, int64_t nbytes) override {
    if (closed_) return MakeError(ErrorKind::kInvalid, "write {}: the stream is closed", file_->path());
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(data), static_cast<size_t>(nbytes));
    if (gathered_.size() + bytes.size() <= kGatherBytes) {
      gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
      return Status::OK();
    }
    // A large write goes out together with what waits, uncopied.
    const std::span<const std::byte> parts[] = {gathered_, bytes};
    SHEAF_RETURN_NOT_OK(file_->WriteAt(written_, parts));
    written_ += static_cast<int64_t>(gathered_.size() + bytes.size());
    gathered_.clear();
    return Status::OK();
  }
  using arrow::io::OutputStream::Write;

  Status Flush() override {
    if (gathered_.empty()) return Status::OK();
    SHEAF_RETURN_NOT_OK(file_->WriteAt(written_, gathered_));
    written_ += static_cast<int64_t>(gathered_.size());
    gathered_.clear();
    return Status::OK();
  }

  Status Close() override {
    if (std::exchange(closed_, true)) return Status::OK();
    return Flush();
  }

  Result<int64_t> Tell() const override { return written_ + static_cast<int64_t>(gathered_.size()) - start_; }
  bool closed() const override { return closed_; }

 private:
  File* const file_;     // Borrowed.
  const int64_t start_;  // Arrow's position 0.
  int64_t written_;
  std::vector<std::byte> gathered_;
  bool closed_ = false;
};

class FileReader : public arrow::io::RandomAccessFile {
 public:
  FileReader(std::shared_ptr<File> file, int64_t size) : file_(std::move(file)), size_(size) {}

  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    if (closed_) return MakeError(ErrorKind::kInvalid, "read {}: closed", file_->path());
    if (position < 0 || nbytes < 0) return MakeError(ErrorKind::kInvalid, "read {}: negative position or length", file_->path());
    return file_->ReadAt(position, {static_cast<std::byte*>(out), static_cast<size_t>(nbytes)});
  }

  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    // A damaged footer may ask for any length: never allocate more than the file can give.
    const int64_t length = std::min(nbytes, std::max<int64_t>(0, size_ - position));
    SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<arrow::ResizableBuffer> buffer, arrow::AllocateResizableBuffer(length));
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, ReadAt(position, length, buffer->mutable_data()));
    if (read < length) SHEAF_RETURN_NOT_OK(buffer->Resize(read));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }

  Result<int64_t> Read(int64_t nbytes, void* out) override {
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, ReadAt(position_, nbytes, out));
    position_ += read;
    return read;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override {
    SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, ReadAt(position_, nbytes));
    position_ += buffer->size();
    return buffer;
  }

  Status Seek(int64_t position) override {
    if (position < 0 || position > size_) {
      return MakeError(ErrorKind::kInvalid, "seek {}: {} is outside the file's {} bytes", file_->path(), position, size_);
    }
    position_ = position;
    return Status::OK();
  }
  Result<int64_t> Tell() const override { return position_; }
  Result<int64_t> GetSize() override { return size_; }
  bool closed() const override { return closed_; }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }

 private:
  const std::shared_ptr<File> file_;
  const int64_t size_;
  int64_t position_ = 0;
  std::atomic<bool> closed_ = false;
};

}  // namespace

std::shared_ptr<arrow::io::OutputStream> MakeOutputStream(File* file, int64_t offset) {
  return std::make_shared<FileOutputStream>(file, offset);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> MakeRandomAccessFile(std::shared_ptr<File> file) {
  SHEAF_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  return std::make_shared<FileReader>(std::move(file), size);
}

}  // namespace sheaf::io
