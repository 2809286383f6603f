#ifndef TESTS_TRAINER_SAFETENSORS_BYTES_H_
#define TESTS_TRAINER_SAFETENSORS_BYTES_H_

#include <string>

#include "absl/strings/str_cat.h"

namespace moe {

// A file of this header, as it is, and so many bytes of data.
inline std::string FileOf(const std::string& json, size_t data_bytes) {
  std::string file;
  for (int i = 0; i < 8; ++i)
    file.push_back(static_cast<char>((json.size() >> (8 * i)) & 0xff));
  return file + json + std::string(data_bytes, '\x01');
}

// One entry of a header.
inline std::string TensorEntry(const std::string& name,
                               const std::string& dtype,
                               const std::string& shape,
                               const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[",
                      shape, "],\"data_offsets\":[", offsets, "]}");
}

// The header of these entries.
inline std::string Object(const std::string& entries) {
  return absl::StrCat("{", entries, "}");
}

}  // namespace moe

#endif  // TESTS_TRAINER_SAFETENSORS_BYTES_H_
