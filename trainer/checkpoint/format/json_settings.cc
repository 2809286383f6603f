#include "trainer/checkpoint/format/json_settings.h"

#include <cstddef>
#include <string>
#include <utility>

#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/json_handler.h"

namespace moe {
namespace {

using Json = nlohmann::json;

class SettingsHandler : public JsonHandler {
 public:
  explicit SettingsHandler(Json& root) : root_(root) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override {
    return Put(value);
  }
  bool string(string_t& value) override { return Put(std::move(value)); }

  bool start_object(size_t) override {
    if (depth_ == 0) {
      root_ = Json::object();
      ++depth_;
      return true;
    }
    return Open(Json::object());
  }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    if (depth_ == 1) outer_key_ = std::move(key);
    if (depth_ == 2) inner_key_ = std::move(key);
    return true;
  }

 private:
  // Depth 1 is right inside the outermost object.
  bool Put(Json value) {
    if (depth_ == 0) return Refuse("is no JSON object");
    if (depth_ > 2) return true;
    if (depth_ == 1) {
      root_[outer_key_] = std::move(value);
      return true;
    }
    Json& parent = root_[outer_key_];
    if (parent.is_object()) parent[inner_key_] = std::move(value);
    if (parent.is_array() && parent.size() < kMaxSettingElements)
      parent.push_back(std::move(value));
    return true;
  }

  bool Open(Json empty) {
    if (!Put(std::move(empty))) return false;
    ++depth_;
    return true;
  }

  bool Close() {
    --depth_;
    return true;
  }

  Json& root_;
  size_t depth_ = 0;
  std::string outer_key_;
  std::string inner_key_;
};

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonSettings(absl::string_view text) {
  Json root;
  SettingsHandler handler(root);
  RETURN_IF_ERROR(ParseJson(text, handler));
  return root;
}

}  // namespace moe
