#ifndef TRAINER_CHECKPOINT_FORMAT_JSON_HANDLER_H_
#define TRAINER_CHECKPOINT_FORMAT_JSON_HANDLER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace moe {

// Base of the readers of JSON from outside: values arrive one by one and no
// tree of them is ever built, so that a hostile file costs no more memory than
// its reader keeps. A reader overrides what it takes; the rest is refused.
class JsonHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Refuse("unexpected null"); }
  bool boolean(bool) override { return Refuse("unexpected boolean"); }
  bool number_unsigned(number_unsigned_t) override {
    return Refuse("unexpected number");
  }
  bool number_integer(number_integer_t value) override;
  bool number_float(number_float_t, const string_t& text) override;
  bool string(string_t&) override { return Refuse("unexpected string"); }
  bool binary(binary_t&) override { return Refuse("unexpected binary"); }
  bool start_object(size_t) override { return Refuse("unexpected object"); }
  bool key(string_t&) override { return Refuse("unexpected key"); }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return Refuse("unexpected array"); }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error) override;

  // What is wrong; empty as long as nothing is.
  const std::string& error() const { return error_; }

 protected:
  // Ends the parse with this message.
  bool Refuse(absl::string_view message);

 private:
  std::string error_;
};

// Far above any file of settings or names.
inline constexpr size_t kMaxJsonBytes = size_t{16} << 20;

// Hands all of `text`, one JSON value in UTF-8, to the handler. DataLoss with
// the handler's error or the place of a syntax error; or `text` is longer than
// `max_bytes`.
absl::Status ParseJson(absl::string_view text, JsonHandler& handler,
                       size_t max_bytes = kMaxJsonBytes);

// A string as JSON, with quotes and escapes.
std::string JsonQuote(absl::string_view text);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_JSON_HANDLER_H_
