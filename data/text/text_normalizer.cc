#include "data/text/text_normalizer.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

bool IsPlain(char c) { return static_cast<signed char>(c) >= 0 && c != ' '; }

}  // namespace

TextNormalizer::TextNormalizer(const SentencePieceModel& model,
                               const PrefixMatcher& user_defined)
    : model_(model),
      user_defined_(user_defined),
      space_(model.escape_whitespaces ? kSpaceSymbol : " ") {}

TextNormalizer::Unit TextNormalizer::FirstUnit(absl::string_view text) const {
  if (const size_t length = user_defined_.Match(text); length > 0) {
    return {text.substr(0, length), length};
  }
  const size_t length = Utf8CharacterLength(text);
  if (length == 0) return {kReplacementCharacter, 1};
  return {text.substr(0, length), length};
}

void TextNormalizer::AppendEscaped(absl::string_view text,
                                   std::string& out) const {
  for (const char c : text) {
    if (c == ' ') {
      out.append(space_.data(), space_.size());
    } else {
      out.push_back(c);
    }
  }
}

// A space at the beginning, and spaces after a space, vanish under
// remove_extra_whitespaces.
void TextNormalizer::AppendUnits(absl::string_view text,
                                 std::string& out) const {
  bool behind_space = model_.remove_extra_whitespaces;
  while (!text.empty()) {
    size_t run = 0;  // characters that are copied as they are
    if (user_defined_.empty()) {
      while (run < text.size() && IsPlain(text[run])) ++run;
    }
    if (run > 0) {
      out.append(text.data(), run);
      text.remove_prefix(run);
      behind_space = false;
      continue;
    }
    const Unit unit = FirstUnit(text);
    text.remove_prefix(unit.size);
    absl::string_view rest = unit.text;
    while (behind_space && absl::ConsumePrefix(&rest, " ")) {
    }
    if (rest.empty()) continue;
    AppendEscaped(rest, out);
    behind_space = model_.remove_extra_whitespaces && absl::EndsWith(rest, " ");
  }
}

std::string TextNormalizer::Normalize(absl::string_view text) const {
  std::string out;
  if (model_.remove_extra_whitespaces) {
    while (!text.empty() && FirstUnit(text).text == " ") text.remove_prefix(1);
  }
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2 + space_.size());
  if (model_.add_dummy_prefix) out.append(space_.data(), space_.size());
  AppendUnits(text, out);
  if (model_.remove_extra_whitespaces) {
    while (absl::EndsWith(out, space_)) out.resize(out.size() - space_.size());
  }
  return out;
}

}  // namespace moe
