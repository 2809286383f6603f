#include "data/text/hf_tokenizer.h"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/model_builder.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// golden/tokenizer: files of ours, loaded and used by transformers' own
// AutoTokenizer (golden/make_tokenizer_golden.py).
std::string Golden(const std::string& name) {
  const std::string path =
      absl::StrCat(MOE_GOLDEN_DIRECTORY, "/tokenizer/", name);
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

Json FileOf(const Tokenizer& tokenizer, bool add_bos, const std::string& name) {
  for (const NamedFile& file : HuggingFaceTokenizerFiles(tokenizer, add_bos)) {
    if (file.name == name) return Json::parse(file.contents);
  }
  ADD_FAILURE() << "no " << name;
  return {};
}

TEST(HuggingFaceTokenizer, WritesTheFilesThatTransformersWasTriedWith) {
  const auto tokenizer = *Tokenizer::FromBytes(Golden("tokenizer.model"));
  std::vector<std::string> names;
  for (const NamedFile& file : HuggingFaceTokenizerFiles(*tokenizer, true)) {
    names.push_back(file.name);
    EXPECT_EQ(file.contents, Golden(file.name)) << file.name;
  }
  EXPECT_THAT(names,
              ElementsAre("tokenizer.model", "tokenizer.json",
                          "tokenizer_config.json", "special_tokens_map.json"));
}

TEST(HuggingFaceTokenizer, TransformersGivesOurIdsAndTexts) {
  const auto tokenizer = *Tokenizer::FromBytes(Golden("tokenizer.model"));
  const Json items = Json::parse(Golden("texts.json"));
  EXPECT_GT(items.size(), 20);
  for (const Json& item : items) {
    const std::string text = item["text"];
    std::vector<int32_t> ids = EncodeIds(*tokenizer, text);
    EXPECT_EQ(ids, item["ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(tokenizer->Decode(ids), item["decoded"]) << text;
    ids.insert(ids.begin(), tokenizer->bos_id());
    EXPECT_EQ(ids, item["ids_with_special"].get<std::vector<int32_t>>());
  }
}

TEST(HuggingFaceTokenizer, AddBosIsInBothFilesOrInNone) {
  const auto tokenizer = *Tokenizer::FromBytes(Golden("tokenizer.model"));
  for (const bool add_bos : {false, true}) {
    const Json tokens = FileOf(*tokenizer, add_bos, "tokenizer.json");
    EXPECT_EQ(tokens["post_processor"].is_null(), !add_bos);
    const Json config = FileOf(*tokenizer, add_bos, "tokenizer_config.json");
    EXPECT_EQ(config["add_bos_token"], add_bos);
    EXPECT_EQ(config["bos_token"], "<s>");
  }
  ModelBuilder without;
  without.Add({"a"}).proto.mutable_trainer()->set_bos_piece("<none>");
  const auto no_bos = *without.Load();
  EXPECT_TRUE(
      FileOf(*no_bos, true, "tokenizer.json")["post_processor"].is_null());
  const Json config = FileOf(*no_bos, true, "tokenizer_config.json");
  EXPECT_EQ(config["add_bos_token"], false);
  EXPECT_FALSE(config.contains("bos_token"));
}

uint64_t Fnv1a(const std::string& contents) {
  uint64_t digest = 0xCBF29CE484222325;
  for (const char c : contents) {
    digest = (digest ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  }
  return digest;
}

// golden/tokenizers: the ids that sentencepiece, tokenizers and AutoTokenizer
// agree on for models with user-defined pieces, without prefix and so on, where
// the last two read this very tokenizer.json.
TEST(HuggingFaceTokenizer, TokenizersGivesOurIdsOnHostileText) {
  const Json goldens = Json::parse(Golden("../tokenizers/golden.json"));
  EXPECT_EQ(goldens.size(), 8);
  for (const auto& [name, golden] : goldens.items()) {
    SCOPED_TRACE(name);
    const auto tokenizer = *Tokenizer::FromBytes(
        Golden(absl::StrCat("../tokenizers/", name, ".model")));
    const auto files = HuggingFaceTokenizerFiles(*tokenizer, /*add_bos=*/true);
    ASSERT_EQ(files[1].name, "tokenizer.json");
    EXPECT_EQ(absl::StrFormat("%016x", Fnv1a(files[1].contents)),
              golden["tokenizer_json"])
        << "golden/make_tokenizer_golden.py tries what is written now";
    EXPECT_GT(golden["texts"].size(), 50);
    for (const Json& item : golden["texts"]) {
      const std::string text = item["text"];
      EXPECT_EQ(EncodeIds(*tokenizer, text),
                item["ids"].get<std::vector<int32_t>>())
          << text;
    }
  }
}

// Nothing of it may be taken out of a text before the whole is normalized.
TEST(HuggingFaceTokenizer, NoPieceIsAnAddedToken) {
  ModelBuilder builder;
  builder.Add({"a"}).Add("<x>", 0, PieceType::kUserDefined);
  const auto tokenizer = *builder.Bytes().Load();
  const Json json = FileOf(*tokenizer, false, "tokenizer.json");
  EXPECT_TRUE(json["added_tokens"].empty());
  EXPECT_EQ(json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"],
            "<x>");
  const Json config = FileOf(*tokenizer, false, "tokenizer_config.json");
  EXPECT_EQ(config["split_special_tokens"], true);
  EXPECT_EQ(config["added_tokens_decoder"].size(), 3);
  EXPECT_EQ(config["added_tokens_decoder"]["0"]["special"], true);
}

TEST(HuggingFaceTokenizer, FollowsTheModelsOptions) {
  ModelBuilder builder;
  builder.Add({"a"}).Bytes();
  const auto steps = [&] {
    const Json json = FileOf(**builder.Load(), false, "tokenizer.json");
    EXPECT_EQ(json["model"]["byte_fallback"], true);
    EXPECT_EQ(json["model"]["ignore_merges"], false);
    EXPECT_TRUE(json["pre_tokenizer"].is_null());
    std::vector<std::string> types;
    for (const Json& step : json["normalizer"]["normalizers"]) {
      types.push_back(step["type"]);
    }
    return types;
  };
  EXPECT_THAT(steps(), ElementsAre("Prepend", "Replace"));
  builder.proto.mutable_normalizer()->set_remove_extra_whitespaces(true);
  EXPECT_THAT(steps(), ElementsAre("Replace", "Replace", "Prepend", "Replace",
                                   "Replace"));
  builder.proto.mutable_normalizer()->set_add_dummy_prefix(false);
  builder.proto.mutable_normalizer()->set_escape_whitespaces(false);
  EXPECT_THAT(steps(), ElementsAre("Replace", "Replace", "Replace"));
}

// What is refused, and that nothing is there that could be read wrongly.
void ExpectRefused(const ModelBuilder& builder, const std::string& why) {
  const auto tokenizer = *builder.Load();
  const absl::Status status = CheckTokenizerExport(*tokenizer);
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr(why));
  std::vector<std::string> names;
  for (const NamedFile& file : HuggingFaceTokenizerFiles(*tokenizer, true))
    names.push_back(file.name);
  EXPECT_THAT(names, ElementsAre("tokenizer.model", "tokenizer_config.json",
                                 "special_tokens_map.json"));
  const Json config = FileOf(*tokenizer, true, "tokenizer_config.json");
  EXPECT_EQ(config, Json({{"truncation_side", status.message()}}));
}

TEST(HuggingFaceTokenizer, RefusesWhatTheFormatCannotSay) {
  ModelBuilder unused;
  ExpectRefused(unused.Add("ab", -1, PieceType::kUnused).Add({"a", "b"}),
                "piece 3 (\"ab\") is unused");
  ModelBuilder control;
  ExpectRefused(control.Add("x", 0, PieceType::kControl).Add({"a"}),
                "piece 3 (\"x\") is a character, and not one of text");
  ModelBuilder character;  // "a" is none, "ab" is one
  ExpectRefused(character.Add({"ab", "b"}),
                "piece 3 (\"ab\") is made of a character that is no piece");
  ModelBuilder spaces;
  spaces.proto.mutable_normalizer()->set_remove_extra_whitespaces(true);
  ExpectRefused(spaces.Add("a b", 0, PieceType::kUserDefined),
                "piece 3 (\"a b\") is user-defined and has a space");
  ModelBuilder unknown;  // text of "<s>" is one unknown id, not three
  ExpectRefused(unknown.Add("ab", 0, PieceType::kUserDefined).Add({"c"}),
                "piece 0 (\"<unk>\") has characters of no piece alone");
  ModelBuilder nested;  // abcdefghij, bcdefghij, ...
  nested.Add("<x>", 0, PieceType::kUserDefined).Bytes();
  const std::string letters = "abcdefghij";
  for (size_t i = 0; i + 1 < letters.size(); ++i)
    nested.Add(letters.substr(i), 0, PieceType::kControl);
  ExpectRefused(nested, "end with one another 9 deep, must be at most 8");
  ModelBuilder ties;
  ExpectRefused(ties.Add("ab", -1).Add("bc", -1).Add({"a", "b", "c"}),
                "which of piece 3 (\"ab\") and piece 4 (\"bc\") comes first "
                "depends on the place in the text");
}

}  // namespace
}  // namespace moe
