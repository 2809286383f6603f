// What stands where in tokenizer.json, and why.
//
// - added_tokens is empty. What stands there is cut out of the text before
//   anything else, so that each part between would get a dummy prefix of its
//   own, and the name of a control piece in a text would become that piece.
// - normalizer: TextNormalizer, on the whole text.
// - pre_tokenizer, where user-defined pieces have more than one character: cuts
//   them out of the normalized text, the longest first. The model then takes a
//   part that is a piece as it stands (ignore_merges). A part that is the name
//   of a piece that merges do not make ("<s>", "<0x0A>") must not be taken so:
//   it is cut behind its first symbol, where no merge reaches across (or behind
//   the last of unknown characters that it begins with, which are one id).
// - model: the merges in their order (merge_list.cc).
#include "data/text/tokenizer_json.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "comm/base/status_macros.h"
#include "data/text/bpe_merger.h"
#include "data/text/bpe_vocabulary.h"
#include "data/text/merge_list.h"
#include "data/text/prefix_matcher.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

// Each takes the names once more; a hostile model could ask for thousands.
constexpr size_t kMostCuts = 8;

std::string Text(absl::string_view text) { return std::string(text); }

bool IsOneCharacter(absl::string_view text) {
  return Utf8CharacterLength(text) == text.size();
}

absl::Status Refusal(const SentencePieceModel& model, size_t id,
                     absl::string_view why) {
  return absl::UnimplementedError(
      absl::StrCat("piece ", id, " (\"",
                   absl::Utf8SafeCEscape(model.pieces[id].text), "\") ", why));
}

absl::Status CheckPieces(const SentencePieceModel& model) {
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    if (piece.type == PieceType::kUnused)
      return Refusal(model, id, "is unused");
    if (!piece.IsOfText() && IsOneCharacter(piece.text))
      return Refusal(model, id, "is a character, and not one of text");
    if (piece.type == PieceType::kUserDefined &&
        model.remove_extra_whitespaces && piece.text.size() > 1 &&
        piece.text.find(' ') != std::string::npos) {
      return Refusal(model, id,
                     "is user-defined and has a space, which "
                     "remove_extra_whitespaces does not take away");
    }
  }
  return absl::OkStatus();
}

// `text` as a regular expression that matches it alone.
std::string Literal(absl::string_view text) {
  std::string pattern;
  for (const char c : text) {
    if (absl::string_view("\\.+*?()|[]{}^$").find(c) != absl::string_view::npos)
      pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

Json Replace(Json pattern, absl::string_view content) {
  return {{"type", "Replace"},
          {"pattern", std::move(pattern)},
          {"content", Text(content)}};
}

// What TextNormalizer does. \A and \z, for ^ and $ are those of each line.
Json Normalizer(const SentencePieceModel& model) {
  const std::string space = model.escape_whitespaces ? Text(kSpaceSymbol) : " ";
  Json steps = Json::array();
  if (model.remove_extra_whitespaces) {
    steps.push_back(Replace({{"Regex", "\\A +"}}, ""));
    steps.push_back(Replace({{"Regex", " {2,}"}}, " "));
  }
  if (model.add_dummy_prefix) {
    steps.push_back({{"type", "Prepend"}, {"prepend", space}});
  }
  if (model.escape_whitespaces) {
    steps.push_back(Replace({{"String", " "}}, kSpaceSymbol));
  }
  if (model.remove_extra_whitespaces) {
    // From the beginning of a run alone: the time is linear.
    steps.push_back(Replace(
        {{"Regex", absl::StrCat("(?<!", space, ")(?:", space, ")+\\z")}}, ""));
  }
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

// The user-defined pieces of more than one character that normalized text can
// hold, the longest first.
std::vector<absl::string_view> LongUserDefined(
    const SentencePieceModel& model) {
  std::vector<absl::string_view> texts = model.UserDefinedTexts();
  std::erase_if(texts, [&](absl::string_view text) {
    return IsOneCharacter(text) || (model.escape_whitespaces &&
                                    text.find(' ') != absl::string_view::npos);
  });
  std::sort(texts.begin(), texts.end(),
            [](absl::string_view a, absl::string_view b) {
              return std::make_pair(b.size(), a) < std::make_pair(a.size(), b);
            });
  return texts;
}

// The length of a first part of the text of `merger`, which is encoded by
// itself as it is in front of the rest; 0 if there is none. Unknown characters
// that stand together are one id.
size_t FirstPart(const SentencePieceModel& model,
                 const BpeVocabulary& vocabulary, const BpeMerger& merger) {
  const auto is_unknown = [&](uint32_t i) {
    return !model.byte_fallback && !vocabulary.IsPiece(merger.symbols()[i].id);
  };
  for (uint32_t i = 0;;) {
    const uint32_t next = merger.symbols()[i].next;
    if (next == BpeMerger::kEnd) return 0;
    if (!is_unknown(i) || !is_unknown(next))
      return merger.symbols()[next].begin;
    i = next;
  }
}

// The names of pieces that a text of the same characters does not become, each
// with the length of its first part.
using Misnomers = absl::flat_hash_map<absl::string_view, size_t>;

absl::StatusOr<Misnomers> FindMisnomers(const SentencePieceModel& model) {
  const BpeVocabulary vocabulary(model);
  const PrefixMatcher user_defined(model.UserDefinedTexts());
  BpeMerger merger(vocabulary, user_defined);
  Misnomers misnomers;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    merger.Run(piece.text);
    if (merger.symbols()[0].next == BpeMerger::kEnd) continue;
    misnomers[piece.text] = FirstPart(model, vocabulary, merger);
    if (misnomers[piece.text] == 0) {
      return Refusal(model, id,
                     "has characters of no piece alone, and there are "
                     "user-defined pieces");
    }
  }
  return misnomers;
}

Json Split(std::string pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", std::move(pattern)}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

// Cuts until no misnomer is left: what is behind a cut may be another one.
size_t NumCuts(const Misnomers& misnomers, absl::string_view name) {
  size_t cuts = 0;
  for (auto next = misnomers.find(name); next != misnomers.end();
       next = misnomers.find(name)) {
    name.remove_prefix(next->second);
    ++cuts;
  }
  return cuts;
}

// Cuts a part that is a misnomer behind its first part.
Json CutMisnomers(const Misnomers& misnomers) {
  std::map<std::string, std::vector<std::string>> rests;  // by first part
  for (const auto& [name, length] : misnomers) {
    rests[Literal(name.substr(0, length))].push_back(
        Literal(name.substr(length)));
  }
  std::vector<std::string> alternatives;
  for (auto& [first, texts] : rests) {
    std::sort(texts.begin(), texts.end());
    alternatives.push_back(
        absl::StrCat(first, "(?=(?:", absl::StrJoin(texts, "|"), ")\\z)"));
  }
  return Split(absl::StrCat("\\A(?:", absl::StrJoin(alternatives, "|"), ")"));
}

// Null where there is nothing to cut.
absl::StatusOr<Json> PreTokenizer(const SentencePieceModel& model) {
  const std::vector<absl::string_view> texts = LongUserDefined(model);
  if (texts.empty()) return Json();
  Json steps = Json::array();
  steps.push_back(Split(
      absl::StrJoin(texts, "|", [](std::string* out, absl::string_view text) {
        absl::StrAppend(out, Literal(text));
      })));
  ASSIGN_OR_RETURN(const Misnomers misnomers, FindMisnomers(model));
  size_t cuts = 0;
  for (const auto& [name, length] : misnomers)
    cuts = std::max(cuts, NumCuts(misnomers, name));
  if (cuts > kMostCuts) {
    return absl::UnimplementedError(absl::StrCat(
        "names of pieces that text does not become end with one another ", cuts,
        " deep, must be at most ", kMostCuts));
  }
  for (size_t i = 0; i < cuts; ++i) steps.push_back(CutMisnomers(misnomers));
  return Json{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

Json Decoder(const SentencePieceModel& model) {
  Json steps = Json::array();
  steps.push_back(Replace({{"String", Text(kSpaceSymbol)}}, " "));
  steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (model.add_dummy_prefix || model.remove_extra_whitespaces) {
    steps.push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

// Puts <s> before a text, and before each of two.
Json BosProcessor(const std::string& bos, int bos_id) {
  const auto special = [&](int type) -> Json {
    return {{"SpecialToken", {{"id", bos}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) -> Json {
    return {{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special(0), sequence("A", 0)})},
          {"pair", Json::array({special(0), sequence("A", 0), special(1),
                                sequence("B", 1)})},
          {"special_tokens",
           {{bos,
             {{"id", bos},
              {"ids", Json::array({bos_id})},
              {"tokens", Json::array({bos})}}}}}};
}

Json Model(const SentencePieceModel& model,
           const std::vector<ListedMerge>& merges) {
  const auto text = [&](int32_t id) {
    return model.pieces[static_cast<size_t>(id)].text;
  };
  // Appended to: its own insertion looks for the name among all before it.
  Json::object_t vocabulary;
  vocabulary.reserve(model.pieces.size());
  for (size_t id = 0; id < model.pieces.size(); ++id)
    vocabulary.emplace_back(model.pieces[id].text, id);
  Json list = Json::array();
  for (const ListedMerge& merge : merges)
    list.push_back(Json::array({text(merge.left), text(merge.right)}));
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", text(model.unk_id)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", model.byte_fallback},
          {"ignore_merges", !LongUserDefined(model).empty()},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(list)}};
}

}  // namespace

absl::StatusOr<std::string> TokenizerJson(const SentencePieceModel& model,
                                          bool add_bos) {
  RETURN_IF_ERROR(CheckPieces(model));
  ASSIGN_OR_RETURN(const std::vector<ListedMerge> merges, MergeList(model));
  ASSIGN_OR_RETURN(Json pre_tokenizer, PreTokenizer(model));
  Json processor;  // null
  if (add_bos && model.bos_id >= 0) {
    processor = BosProcessor(
        model.pieces[static_cast<size_t>(model.bos_id)].text, model.bos_id);
  }
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", Json::array()},
                     {"normalizer", Normalizer(model)},
                     {"pre_tokenizer", std::move(pre_tokenizer)},
                     {"post_processor", std::move(processor)},
                     {"decoder", Decoder(model)},
                     {"model", Model(model, merges)}};
  return json.dump(2) + "\n";
}

}  // namespace moe
