#include "trainer/checkpoint/format/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/check.h"
#include "trainer/checkpoint/format/json_handler.h"

namespace moe {
namespace {

struct DTypeFacts {
  absl::string_view name;
  int64_t bits;
};

constexpr std::array<DTypeFacts, 22> kDTypes = {{
    {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
    {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64},
}};

uint64_t NumBytes(const StoredTensor& tensor) {
  uint64_t elements = 1;
  for (uint64_t dim : tensor.shape) elements *= dim;
  const uint64_t bits = elements * static_cast<uint64_t>(BitsOf(tensor.dtype));
  CHECK(bits % 8 == 0);
  return bits / 8;
}

std::string LittleEndian64(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
  return bytes;
}

}  // namespace

absl::string_view Name(StoredDType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].name;
}

int64_t BitsOf(StoredDType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].bits;
}

absl::StatusOr<StoredDType> StoredDTypeByName(absl::string_view name) {
  for (size_t i = 0; i < kDTypes.size(); ++i)
    if (kDTypes[i].name == name) return static_cast<StoredDType>(i);
  return absl::NotFoundError(
      absl::StrCat("no element type is called ", name.substr(0, 40)));
}

void LayOutTensors(std::vector<StoredTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return std::tie(b.dtype, a.name) < std::tie(a.dtype, b.name);
            });
  uint64_t offset = 0;
  for (StoredTensor& tensor : tensors) {
    tensor.begin = offset;
    offset += NumBytes(tensor);
    tensor.end = offset;
  }
}

std::string SafetensorsHeaderBytes(
    const std::vector<StoredTensor>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    entries.push_back(absl::StrCat(
        "\"__metadata__\":{",
        absl::StrJoin(metadata, ",",
                      [](std::string* out, const auto& pair) {
                        absl::StrAppend(out, JsonQuote(pair.first), ":",
                                        JsonQuote(pair.second));
                      }),
        "}"));
  }
  for (const StoredTensor& tensor : tensors) {
    entries.push_back(absl::StrCat(
        JsonQuote(tensor.name), ":{\"dtype\":\"", Name(tensor.dtype),
        "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
        "],\"data_offsets\":[", tensor.begin, ",", tensor.end, "]}"));
  }
  std::string json = absl::StrCat("{", absl::StrJoin(entries, ","), "}");
  json.resize((json.size() + 7) / 8 * 8, ' ');
  CHECK(json.size() <= static_cast<size_t>(kMaxSafetensorsHeader));
  return LittleEndian64(json.size()) + json;
}

}  // namespace moe
