#include "trainer/checkpoint/format/weights_index.h"

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/json_handler.h"

namespace moe {
namespace {

// A slash leads out of the directory, and the system takes a zero byte for the
// name's end.
constexpr absl::string_view kNotInNames("/\0", 2);

// {"weight_map": {NAME: FILE, ...}, ANYTHING ELSE}
class IndexHandler : public JsonHandler {
 public:
  explicit IndexHandler(std::map<std::string, std::string>& files)
      : files_(files) {}

  bool found_map() const { return found_map_; }

  bool null() override { return TakeOther("null"); }
  bool boolean(bool) override { return TakeOther("boolean"); }
  bool number_unsigned(number_unsigned_t) override {
    return TakeOther("number");
  }
  bool number_integer(number_integer_t) override { return TakeOther("number"); }
  bool number_float(number_float_t, const string_t&) override {
    return TakeOther("number");
  }
  bool start_array(size_t) override { return Open("array"); }
  bool end_array() override { return Close(); }
  bool end_object() override { return Close(); }

  bool key(string_t& key) override {
    if (depth_ == 1 && key == "weight_map" && found_map_)
      return Refuse("weight_map appears twice");
    if (depth_ == 1) key_is_map_ = key == "weight_map";
    if (InMap()) tensor_ = key;
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ == 1 && key_is_map_) {
      found_map_ = true;
      ++depth_;
      return true;
    }
    return depth_ == 0 ? (++depth_, true) : Open("object");
  }

  bool string(string_t& file) override {
    if (!InMap()) return TakeOther("string");
    if (file.empty() || file == "." || file == ".." ||
        file.find_first_of(kNotInNames.data(), 0, kNotInNames.size()) !=
            std::string::npos) {
      return Refuse(absl::StrCat("the file of ", tensor_.substr(0, 200), " is ",
                                 JsonQuote(file.substr(0, 200)),
                                 ", must be a name in the same directory"));
    }
    return files_.emplace(tensor_, file).second ||
           Refuse(absl::StrCat(tensor_.substr(0, 200), " appears twice"));
  }

 private:
  // Right inside the weight_map.
  bool InMap() const { return depth_ == 2 && key_is_map_; }

  // A value that nobody looks at, unless it stands where one counts.
  bool TakeOther(absl::string_view kind) {
    const bool counts = depth_ == 0 || key_is_map_;
    return !counts || Refuse(absl::StrCat("unexpected ", kind));
  }
  bool Open(absl::string_view kind) {
    if (!TakeOther(kind)) return false;
    ++depth_;
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }

  std::map<std::string, std::string>& files_;
  size_t depth_ = 0;
  bool key_is_map_ = false;  // the last key of the outermost object
  bool found_map_ = false;
  std::string tensor_;
};

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseWeightsIndex(
    absl::string_view json) {
  std::map<std::string, std::string> files;
  IndexHandler handler(files);
  RETURN_IF_ERROR(ParseJson(json, handler));
  if (!handler.found_map()) return absl::DataLossError("weight_map is missing");
  return files;
}

std::string WeightsIndexText(
    int64_t total_bytes, const std::map<std::string, std::string>& weight_map) {
  std::string json =
      absl::StrCat("{\n  \"metadata\": {\"total_size\": ", total_bytes,
                   "},\n  \"weight_map\": {");
  const char* separator = "\n    ";
  for (const auto& [tensor, file] : weight_map) {
    absl::StrAppend(&json, separator, JsonQuote(tensor), ": ", JsonQuote(file));
    separator = ",\n    ";
  }
  return absl::StrCat(json, "\n  }\n}\n");
}

}  // namespace moe
