#include "trainer/checkpoint/format/safetensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/half.h"

namespace moe {
namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are stored as they lie in memory");

// out[i] = convert of the i-th 16 bits.
template <typename Convert>
void ReadHalves(const char* bytes, absl::Span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    out[i] = convert(bits);
  }
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(FileSystem& files,
                                                      const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, files.Map(path));
  absl::StatusOr<SafetensorsHeader> header =
      ParseSafetensorsHeader(file->bytes());
  if (!header.ok()) return Annotate(header.status(), path);
  return SafetensorsFile(path, std::move(file), *std::move(header));
}

// The names stay where they are when the file is moved: a moved vector keeps
// its elements in place.
SafetensorsFile::SafetensorsFile(std::string path,
                                 std::unique_ptr<MappedFile> file,
                                 SafetensorsHeader header)
    : path_(std::move(path)),
      file_(std::move(file)),
      header_(std::move(header)) {
  for (size_t i = 0; i < header_.tensors.size(); ++i)
    index_by_name_[header_.tensors[i].name] = i;
}

const StoredTensor* SafetensorsFile::Find(absl::string_view name) const {
  const auto found = index_by_name_.find(name);
  return found == index_by_name_.end() ? nullptr
                                       : &header_.tensors[found->second];
}

absl::string_view SafetensorsFile::Bytes(const StoredTensor& tensor) const {
  return file_->bytes().substr(header_.data_begin + tensor.begin,
                               tensor.end - tensor.begin);
}

absl::Status SafetensorsFile::ReadFloats(const StoredTensor& tensor,
                                         int64_t begin,
                                         absl::Span<float> out) const {
  const bool single = tensor.dtype == StoredDType::kF32;
  if (!single && tensor.dtype != StoredDType::kBF16 &&
      tensor.dtype != StoredDType::kF16) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": ", tensor.name, " is ", Name(tensor.dtype),
                     ", must be F32, BF16 or F16"));
  }
  const absl::string_view bytes = Bytes(tensor);
  const size_t width = single ? 4 : 2;
  CHECK(begin >= 0 &&
        (static_cast<size_t>(begin) + out.size()) * width <= bytes.size());
  const char* from = bytes.data() + static_cast<size_t>(begin) * width;
  if (single) {
    if (!out.empty()) std::memcpy(out.data(), from, out.size() * width);
  } else if (tensor.dtype == StoredDType::kBF16) {
    ReadHalves(from, out, [](uint16_t b) { return ToFloat(BFloat16{b}); });
  } else {
    ReadHalves(from, out, HalfToFloat);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    FileSystem& files, const std::string& path,
    std::vector<StoredTensor> tensors,
    const std::map<std::string, std::string>& metadata) {
  LayOutTensors(tensors);
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files.Create(path));
  RETURN_IF_ERROR(file->Append(SafetensorsHeaderBytes(tensors, metadata)));
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(std::move(file), std::move(tensors)));
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<WritableFile> file,
                                     std::vector<StoredTensor> tensors)
    : file_(std::move(file)), tensors_(std::move(tensors)) {
  SkipComplete();
}

absl::Status SafetensorsWriter::Append(absl::string_view name,
                                       absl::Span<const float> values) {
  CHECK(current_ < tensors_.size() &&
        tensors_[current_].dtype == StoredDType::kF32);
  return AppendBytes(
      name, absl::string_view(reinterpret_cast<const char*>(values.data()),
                              values.size() * sizeof(float)));
}

absl::Status SafetensorsWriter::AppendBytes(absl::string_view name,
                                            absl::string_view bytes) {
  CHECK(current_ < tensors_.size() && tensors_[current_].name == name);
  CHECK(offset_ + bytes.size() <= tensors_[current_].end);
  RETURN_IF_ERROR(file_->Append(bytes));
  offset_ += bytes.size();
  SkipComplete();
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  CHECK(current_ == tensors_.size());
  RETURN_IF_ERROR(file_->Sync());
  return file_->Close();
}

// On to the first tensor that still lacks bytes; empty ones lack none.
void SafetensorsWriter::SkipComplete() {
  while (current_ < tensors_.size() && offset_ == tensors_[current_].end)
    ++current_;
}

}  // namespace moe
