#include "trainer/checkpoint/format/json_handler.h"

#include "absl/strings/str_cat.h"

namespace moe {

bool JsonHandler::number_integer(number_integer_t value) {
  return Refuse(absl::StrCat("unexpected negative number ", value));
}

bool JsonHandler::number_float(number_float_t, const string_t& text) {
  return Refuse(absl::StrCat("unexpected number ", text.substr(0, 40),
                             ", must be a whole number that fits 64 bits"));
}

// The parser's own text, "[name] parse error at line 1, column 5: REASON; last
// read: 'TOKEN'", without the frame and the token, which may be the whole file.
bool JsonHandler::parse_error(size_t position, const std::string&,
                              const nlohmann::detail::exception& error) {
  absl::string_view reason = error.what();
  if (const size_t colon = reason.find(": "); colon != reason.npos)
    reason.remove_prefix(colon + 2);
  reason = reason.substr(0, reason.find("; last read"));
  return Refuse(absl::StrCat("no valid JSON at byte ", position, ": ",
                             reason.substr(0, 200)));
}

bool JsonHandler::Refuse(absl::string_view message) {
  if (error_.empty()) error_ = std::string(message);
  return false;
}

absl::Status ParseJson(absl::string_view text, JsonHandler& handler,
                       size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::DataLossError(absl::StrCat(
        "the JSON has ", text.size(), " bytes, must be at most ", max_bytes));
  }
  // The parser takes a zero byte for the end of its input and passes over a
  // byte order mark; JSON knows neither.
  if (const size_t zero = text.find('\0'); zero != absl::string_view::npos)
    return absl::DataLossError(absl::StrCat("a zero byte at byte ", zero));
  if (text.substr(0, 3) == "\xef\xbb\xbf")
    return absl::DataLossError("a byte order mark stands before the JSON");
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &handler))
    return absl::OkStatus();
  return absl::DataLossError(handler.error().empty() ? "no valid JSON"
                                                     : handler.error());
}

std::string JsonQuote(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace moe
