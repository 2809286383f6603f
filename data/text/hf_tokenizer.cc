#include "data/text/hf_tokenizer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/text/sentencepiece_model.h"
#include "data/text/tokenizer_json.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

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

// The pieces that skip_special_tokens leaves out, by id.
Json SpecialPieces(const SentencePieceModel& model) {
  Json pieces = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    if (piece.type != PieceType::kUnknown && piece.type != PieceType::kControl)
      continue;
    pieces[std::to_string(id)] = {
        {"content", piece.text}, {"single_word", false}, {"lstrip", false},
        {"rstrip", false},       {"normalized", false},  {"special", true}};
  }
  return pieces;
}

// The class is not Mixtral's own LlamaTokenizer: that of transformers 5 takes
// vocabulary and merges from tokenizer.json but puts a normalizer of its own,
// which gives other ids to text that begins with a space. This one takes the
// whole file; it must be told which inputs the model knows. With
// split_special_tokens "<s>" in a text is three characters, as for
// SentencePiece; chat templates that spell it out turn that off.
Json TokenizerConfig(const SentencePieceModel& model, bool add_bos) {
  Json config = {{"add_bos_token", add_bos && model.bos_id >= 0},
                 {"add_eos_token", false},
                 {"added_tokens_decoder", SpecialPieces(model)},
                 {"split_special_tokens", true}};
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

// transformers has no way to say that a directory has no tokenizer that it can
// read. It does refuse a side that is neither, and its message shows the value.
Json Refusal(const absl::Status& why) {
  return {{"truncation_side", why.message()}};
}

}  // namespace

absl::Status CheckTokenizerExport(const Tokenizer& tokenizer) {
  const absl::Status status =
      TokenizerJson(tokenizer.model(), /*add_bos=*/false).status();
  if (status.ok()) return status;
  return absl::UnimplementedError(absl::StrCat(
      "tokenizer.json cannot say what tokenizer.model means and is left out: ",
      status.message(), "; read tokenizer.model by sentencepiece"));
}

std::vector<NamedFile> HuggingFaceTokenizerFiles(const Tokenizer& tokenizer,
                                                 bool add_bos) {
  const SentencePieceModel& model = tokenizer.model();
  const auto text = [](const Json& json) { return json.dump(2) + "\n"; };
  std::vector<NamedFile> files = {{kTokenizerFile, tokenizer.model_bytes()}};
  absl::StatusOr<std::string> json = TokenizerJson(model, add_bos);
  if (json.ok()) files.push_back({"tokenizer.json", *std::move(json)});
  files.push_back({kTokenizerConfigFile,
                   text(json.ok() ? TokenizerConfig(model, add_bos)
                                  : Refusal(CheckTokenizerExport(tokenizer)))});
  files.push_back({"special_tokens_map.json", text(SpecialTokens(model))});
  return files;
}

}  // namespace moe
