#include "data/hf_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data/sentencepiece_model.h"
#include "data/utf8.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(absl::string_view text) { return std::string(text); }

// Pieces that text must not turn into by merges: names of their own.
bool IsAdded(const SentencePiece& piece) {
  return piece.type == PieceType::kUnknown ||
         piece.type == PieceType::kControl ||
         piece.type == PieceType::kUserDefined;
}

Json AddedToken(const SentencePiece& piece) {
  return {{"content", piece.text},
          {"single_word", false},
          {"lstrip", false},
          {"rstrip", false},
          {"normalized", false},
          {"special", piece.type != PieceType::kUserDefined}};
}

struct Merge {
  absl::string_view left;
  absl::string_view right;
  float score;
  size_t left_characters;
  size_t right_characters;
};

size_t Characters(absl::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

using PieceIds = absl::flat_hash_map<absl::string_view, int32_t>;

// All ways to make `piece` of two others, in the order of their ids.
std::vector<Merge> MergesInto(const SentencePiece& piece, const PieceIds& ids) {
  std::vector<Merge> merges;
  const absl::string_view text = piece.text;
  for (size_t cut = Utf8CharacterLength(text); cut < text.size();
       cut += Utf8CharacterLength(text.substr(cut))) {
    const absl::string_view left = text.substr(0, cut);
    const absl::string_view right = text.substr(cut);
    if (!ids.contains(left) || !ids.contains(right)) continue;
    merges.push_back(
        {left, right, piece.score, Characters(left), Characters(right)});
  }
  std::sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
    return std::make_pair(ids.at(a.left), ids.at(a.right)) <
           std::make_pair(ids.at(b.left), ids.at(b.right));
  });
  return merges;
}

// The merge list of the same encoding: by score, the highest first. Where
// scores are equal SentencePiece merges the leftmost pair; a longer left part
// first does the same within runs of one character, the usual case (spaces).
Json Merges(const SentencePieceModel& model) {
  PieceIds ids;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (!model.pieces[id].IsOfText()) continue;
    ids[model.pieces[id].text] = static_cast<int32_t>(id);
  }
  std::vector<Merge> merges;
  for (const SentencePiece& piece : model.pieces) {
    if (!piece.IsOfText()) continue;
    const std::vector<Merge> ways = MergesInto(piece, ids);
    merges.insert(merges.end(), ways.begin(), ways.end());
  }
  std::stable_sort(
      merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
        return std::tie(a.score, a.left_characters, a.right_characters) >
               std::tie(b.score, b.left_characters, b.right_characters);
      });
  Json list = Json::array();
  for (const Merge& merge : merges) {
    list.push_back(Json::array({Text(merge.left), Text(merge.right)}));
  }
  return list;
}

Json Replace(Json pattern, absl::string_view content) {
  return {{"type", "Replace"},
          {"pattern", std::move(pattern)},
          {"content", Text(content)}};
}

// What TextNormalizer does.
Json Normalizer(const SentencePieceModel& model) {
  const absl::string_view space = model.escape_whitespaces ? kSpaceSymbol : " ";
  Json steps = Json::array();
  if (model.remove_extra_whitespaces) {
    steps.push_back(Replace({{"Regex", "^ +| +$"}}, ""));
    steps.push_back(Replace({{"Regex", " {2,}"}}, " "));
  }
  if (model.add_dummy_prefix) {
    steps.push_back({{"type", "Prepend"}, {"prepend", Text(space)}});
  }
  if (model.escape_whitespaces) {
    steps.push_back(Replace({{"String", " "}}, kSpaceSymbol));
  }
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

Json Decoder(const SentencePieceModel& model) {
  Json steps = Json::array();
  steps.push_back(Replace({{"String", Text(kSpaceSymbol)}}, " "));
  steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (model.add_dummy_prefix) {
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

Json TokenizerJson(const SentencePieceModel& model, bool add_bos) {
  Json added = Json::array();
  Json vocabulary = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    vocabulary.push_back({piece.text, id});
    if (!IsAdded(piece)) continue;
    Json token = {{"id", id}};
    token.update(AddedToken(piece));
    added.push_back(std::move(token));
  }
  Json processor;  // null
  if (add_bos && model.bos_id >= 0) {
    processor = BosProcessor(
        model.pieces[static_cast<size_t>(model.bos_id)].text, model.bos_id);
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", Normalizer(model)},
          {"pre_tokenizer", nullptr},
          {"post_processor", std::move(processor)},
          {"decoder", Decoder(model)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", model.pieces[static_cast<size_t>(model.unk_id)].text},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", model.byte_fallback},
            {"vocab", std::move(vocabulary)},
            {"merges", Merges(model)}}}};
}

// {"bos_token": "<s>", ...} of what the model has.
Json SpecialTokens(const SentencePieceModel& model) {
  Json tokens = Json::object();
  const auto add = [&](const char* name, int id) {
    if (id < 0) return;
    tokens[name] = model.pieces[static_cast<size_t>(id)].text;
  };
  add("bos_token", model.bos_id);
  add("eos_token", model.eos_id);
  add("unk_token", model.unk_id);
  return tokens;
}

// The class is not Mixtral's own LlamaTokenizer: that of transformers 5 takes
// vocabulary and merges from tokenizer.json but puts a normalizer of its own,
// which gives other ids to text that begins with a space. This one takes the
// whole file; it must be told which inputs the model knows.
Json TokenizerConfig(const SentencePieceModel& model, bool add_bos) {
  Json added = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (!IsAdded(model.pieces[id])) continue;
    added[std::to_string(id)] = AddedToken(model.pieces[id]);
  }
  Json config = {{"add_bos_token", add_bos && model.bos_id >= 0},
                 {"add_eos_token", false},
                 {"added_tokens_decoder", std::move(added)}};
  config.update(SpecialTokens(model));
  config.update(
      Json{{"pad_token", nullptr},
           {"padding_side", "left"},
           {"clean_up_tokenization_spaces", false},
           {"model_max_length", 1e30},
           {"model_input_names", Json::array({"input_ids", "attention_mask"})},
           {"spaces_between_special_tokens", false},
           {"tokenizer_class", "PreTrainedTokenizerFast"}});
  return config;
}

}  // namespace

std::vector<NamedFile> HuggingFaceTokenizerFiles(const Tokenizer& tokenizer,
                                                 bool add_bos) {
  const SentencePieceModel& model = tokenizer.model();
  const auto text = [](const Json& json) { return json.dump(2) + "\n"; };
  return {{"tokenizer.model", tokenizer.model_bytes()},
          {"tokenizer.json", text(TokenizerJson(model, add_bos))},
          {"tokenizer_config.json", text(TokenizerConfig(model, add_bos))},
          {"special_tokens_map.json", text(SpecialTokens(model))}};
}

}  // namespace moe
