#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/fuzz/reader_seeds.h"
#include "tests/trainer/safetensors_bytes.h"
#include "trainer/checkpoint/format/safetensors_header.h"

namespace moe {
namespace {

// The format's own example: a = [1.0, -2.0] of F32.
constexpr char kGolden[] =
    "58000000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a227074"
    "227d2c2261223a7b226474797065223a22463332222c227368617065223a5b325d2c226461"
    "74615f6f666673657473223a5b302c385d7d7d2020200000803f000000c0";

// Three tensors of three types, as our writer lays them out.
std::string Written() {
  std::vector<StoredTensor> tensors = {
      {.name = "w", .dtype = StoredDType::kBF16, .shape = {2, 3}},
      {.name = "step", .dtype = StoredDType::kI64, .shape = {}},
      {.name = "none", .dtype = StoredDType::kF32, .shape = {4, 0}}};
  LayOutTensors(tensors);
  return SafetensorsHeaderBytes(tensors, {{"format", "pt"}}) +
         std::string(20, '\x01');
}

std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets, size_t data_bytes) {
  return FileOf(Object(TensorEntry("a", dtype, shape, offsets)), data_bytes);
}

// One for each error of the reference's reader, by its name there.
void AddErrors(SeedFiles& seeds) {
  const std::string at = "safetensors_header/refused_";
  seeds[at + "header_too_small"] = std::string(7, '\0');
  seeds[at + "header_too_large"] =
      absl::HexStringToBytes("01e1f505000000007b7d");
  seeds[at + "invalid_header_length"] =
      absl::HexStringToBytes("03000000000000007b7d");
  seeds[at + "invalid_header"] = FileOf("{\"\xff\":{}}", 0);
  seeds[at + "invalid_header_deserialization"] = FileOf("{\"a\":7}", 0);
  seeds[at + "unknown_dtype"] = OneTensor("F33", "1", "0,4", 4);
  seeds[at + "metadata_no_string"] = FileOf("{\"__metadata__\":{\"a\":1}}", 0);
  seeds[at + "negative_number"] = OneTensor("F32", "-1", "0,4", 4);
  seeds[at + "fractional_number"] = OneTensor("F32", "1.5", "0,6", 6);
  seeds[at + "huge_number"] = OneTensor("F32", "1", "0,1e999", 4);
  seeds[at + "invalid_offset_hole"] = OneTensor("U8", "1", "1,2", 2);
  seeds[at + "invalid_offset_backwards"] =
      FileOf(Object(TensorEntry("a", "U8", "2", "0,2") + "," +
                    TensorEntry("b", "U8", "0", "2,1")),
             2);
  seeds[at + "invalid_offset_overlap"] =
      FileOf(Object(TensorEntry("a", "U8", "2", "0,2") + "," +
                    TensorEntry("b", "U8", "2", "1,3")),
             3);
  seeds[at + "validation_overflow"] =
      OneTensor("F32", "4294967296,4294967296", "0,0", 0);
  seeds[at + "misaligned_slice"] = OneTensor("F4", "3", "0,2", 2);
  seeds[at + "tensor_invalid_info"] = OneTensor("F32", "2", "0,4", 4);
  seeds[at + "metadata_incomplete_buffer"] = OneTensor("F32", "2", "0,8", 7);
  seeds[at + "trailing_bytes"] = OneTensor("F32", "2", "0,8", 9);
  seeds[at + "key_twice"] =
      FileOf(Object(TensorEntry("a", "U8", "0", "0,0") + "," +
                    TensorEntry("a", "U8", "0", "0,0")),
             0);
  seeds[at + "deep_nesting"] =
      FileOf("{\"a\":{\"x\":" + std::string(200, '['), 0);
}

}  // namespace

void AddSafetensorsSeeds(SeedFiles& seeds) {
  const std::string at = "safetensors_header/accepted_";
  seeds[at + "golden"] = absl::HexStringToBytes(kGolden);
  seeds[at + "written"] = Written();
  seeds[at + "empty"] = FileOf("{}", 0);
  seeds[at + "white_space"] = FileOf(" \n{ } \t ", 0);
  seeds[at + "scalar"] = OneTensor("F32", "", "0,4", 4);
  seeds[at + "sub_byte"] = OneTensor("F4", "4", "0,2", 2);
  seeds[at + "unknown_keys"] = FileOf(
      "{\"a\":{\"x\":[{\"y\":[null,-1,1.5,true]}],\"dtype\":\"U8\","
      "\"shape\":[1],\"data_offsets\":[0,1]}}",
      1);
  AddErrors(seeds);
}

}  // namespace moe
