// The beginning of a safetensors file, the whole file given.

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/checkpoint/format/safetensors_header.h"

namespace moe {
namespace {

// Tensors lie one behind the other, as long as their shapes say, to the end.
void CheckFillsFile(const SafetensorsHeader& header, size_t file_size) {
  CHECK(header.data_begin >= 8 && header.data_begin <= file_size);
  std::set<std::string> names;
  uint64_t end = 0;
  for (const StoredTensor& tensor : header.tensors) {
    CHECK(names.insert(tensor.name).second);
    CHECK(tensor.begin == end && tensor.end >= tensor.begin);
    uint64_t bits = static_cast<uint64_t>(BitsOf(tensor.dtype));
    for (const uint64_t dim : tensor.shape)
      CHECK(!__builtin_mul_overflow(bits, dim, &bits));
    CHECK(bits % 8 == 0 && bits / 8 == tensor.end - tensor.begin);
    end = tensor.end;
  }
  CHECK(header.data_begin + end == file_size);
}

bool SameTensor(const StoredTensor& a, const StoredTensor& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape &&
         a.begin == b.begin && a.end == b.end;
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  const auto header = ParseSafetensorsHeader(bytes);
  if (!header.ok()) return header.status();
  CheckFillsFile(*header, bytes.size());

  // Our writer's file of the same tensors says the same.
  const std::string written =
      absl::StrCat(SafetensorsHeaderBytes(header->tensors, header->metadata),
                   bytes.substr(header->data_begin));
  const auto again = ParseSafetensorsHeader(written);
  CHECK(again.ok() && again->metadata == header->metadata);
  CHECK(again->tensors.size() == header->tensors.size());
  for (size_t i = 0; i < again->tensors.size(); ++i)
    CHECK(SameTensor(again->tensors[i], header->tensors[i]));
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
