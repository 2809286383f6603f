#ifndef TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_HEADER_H_
#define TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// The beginning of a safetensors file, as huggingface/safetensors defines it:
//
//   u64      N, length of the header, little-endian, at most 100,000,000
//   N bytes  JSON {"__metadata__": {string: string},
//                  NAME: {"dtype": "F32", "shape": [2, 3],
//                         "data_offsets": [BEGIN, END]}, ...}
//            padded with spaces so that what follows is 8-aligned
//   rest     the tensors' elements, row-major, little-endian, without holes;
//            offsets count from here
inline constexpr int64_t kMaxSafetensorsHeader = 100'000'000;

// Element types in the reference's order: a writer puts higher ones first.
enum class StoredDType {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

// "F32", and back; NotFound for a name that is none.
absl::string_view Name(StoredDType dtype);
absl::StatusOr<StoredDType> StoredDTypeByName(absl::string_view name);
int64_t BitsOf(StoredDType dtype);

struct StoredTensor {
  std::string name;
  StoredDType dtype = StoredDType::kF32;
  std::vector<uint64_t> shape;
  // Bytes [begin, end) behind the header.
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<StoredTensor> tensors;  // by offset
  uint64_t data_begin = 0;            // bytes before the tensors' elements
};

// Reads and checks everything that the reference's reader checks, and refuses
// duplicate keys, which it lets pass. `file` is the whole file. DataLoss names
// the tensor, the value and the limit.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view file);

// Puts the tensors in the order of the file (dtype, highest first, then name)
// and fills in their offsets. Names are unique, dtypes of whole bytes.
void LayOutTensors(std::vector<StoredTensor>& tensors);

// The bytes before the elements, for tensors that LayOutTensors has placed.
// transformers demands the metadata {"format": "pt"}.
std::string SafetensorsHeaderBytes(
    const std::vector<StoredTensor>& tensors,
    const std::map<std::string, std::string>& metadata);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_HEADER_H_
