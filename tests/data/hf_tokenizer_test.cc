#include "data/hf_tokenizer.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/model_builder.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
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

TEST(HuggingFaceTokenizer, MergesGoByScoreThenByLengthThenByIds) {
  ModelBuilder builder;
  builder.Add({"ab", "abc", "bc", "a", "b", "c"});
  builder.Add("cc", -99).Add("ccc", -99);
  const Json json = FileOf(**builder.Load(), false, "tokenizer.json");
  const std::vector<std::vector<std::string>> merges = json["model"]["merges"];
  const std::vector<std::vector<std::string>> expected = {
      {"a", "b"},  {"ab", "c"}, {"a", "bc"}, {"b", "c"},
      {"cc", "c"}, {"c", "cc"}, {"c", "c"}};
  EXPECT_EQ(merges, expected);
  EXPECT_EQ(json["model"]["vocab"]["abc"], 4);
  EXPECT_EQ(json["model"]["vocab"].size(), 11);
  EXPECT_EQ(json["model"]["byte_fallback"], false);
}

TEST(HuggingFaceTokenizer, FollowsTheModelsOptions) {
  ModelBuilder builder;
  builder.Add({"a"}).Add("<x>", 0, PieceType::kUserDefined);
  builder.Bytes();
  const auto steps = [&] {
    const Json json = FileOf(**builder.Load(), false, "tokenizer.json");
    EXPECT_EQ(json["model"]["byte_fallback"], true);
    EXPECT_EQ(json["added_tokens"].size(), 4);
    EXPECT_EQ(json["added_tokens"][3]["content"], "<x>");
    EXPECT_EQ(json["added_tokens"][3]["special"], false);
    std::vector<std::string> types;
    for (const Json& step : json["normalizer"]["normalizers"]) {
      types.push_back(step["type"]);
    }
    return types;
  };
  EXPECT_THAT(steps(), ElementsAre("Prepend", "Replace"));
  builder.proto.mutable_normalizer()->set_remove_extra_whitespaces(true);
  EXPECT_THAT(steps(), ElementsAre("Replace", "Replace", "Prepend", "Replace"));
  builder.proto.mutable_normalizer()->set_add_dummy_prefix(false);
  builder.proto.mutable_normalizer()->set_escape_whitespaces(false);
  EXPECT_THAT(steps(), ElementsAre("Replace", "Replace"));
}

}  // namespace
}  // namespace moe
