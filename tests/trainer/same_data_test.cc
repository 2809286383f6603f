// Whole runs of one rank that go on with data under other names, or with
// other data under the same names.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/storage/digest.h"
#include "data/tokens_digest.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/trainer/same_data_fixture.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(SameDataTest, TokensThatMovedGoOnAndOthersAreRefused) {
  WriteTokens("tokens", {300, 700});
  Train({Path("tokens")});
  ExpectRuns();
  EXPECT_EQ(DigestText(Manifest().train(0).xxh3()), DigestOf("tokens"));
  Train({Path("./tokens.bin")});
  ExpectRuns();
  EXPECT_THAT(said_, HasSubstr("data.train is { source"));
  for (const char* end : {".bin", ".idx"})
    fs::copy(Path("tokens") + end, Path("copy") + end);
  Train({Path("copy")});
  ExpectRuns();
  for (const char* end : {".bin", ".idx", ".digest"})
    fs::rename(Path("tokens") + end, Path("elsewhere") + end);
  Train({Path("tokens")});
  const absl::Status moved = Run();
  EXPECT_TRUE(absl::IsNotFound(moved)) << moved;
  EXPECT_THAT(std::string(moved.message()),
              AllOf(HasSubstr("there is no file " + Path("tokens.idx")),
                    HasSubstr("the run goes on from " + Checkpoint()),
                    HasSubstr("may be given by their new path")));
  Train({Path("elsewhere")});
  ExpectRuns();

  const std::string before = DigestOf("elsewhere");
  for (const int stride : {11, 13}) {  // as many tokens, and others
    WriteTokens("elsewhere", {300, 700}, stride);
    const std::string note = Preview();
    ExpectRefused({Path("elsewhere"), Checkpoint(),
                   "digest " + DigestOf("elsewhere"), "was " + before});
    EXPECT_THAT(note, HasSubstr("digest " + DigestOf("elsewhere")));
  }
  WriteTokens("elsewhere", {700, 300});  // the same tokens, cut otherwise
  ExpectRefused({"digest"});
  WriteTokens("elsewhere", {300, 700, 10});
  ExpectRefused({"digest"});
  WriteTokens("elsewhere", {300, 700});
  ExpectRuns();
}

TEST_F(SameDataTest, SourcesOfABlendKeepTheirOrder) {
  WriteTokens("a", {300});
  WriteTokens("b", {300}, 11);
  Train({Path("a"), Path("b")});
  config_.mutable_data()->mutable_valid()->add_source()->set_path(Path("a"));
  ExpectRuns();
  Train({Path("b"), Path("a")});
  ExpectRefused({"data.train: " + Path("b"), "that of source 1 of then"});
  Train({Path("a"), Path("a")});
  ExpectRefused({"data.train: " + Path("a")});
  Train({Path("a")});
  ExpectRefused({"data.train is"});
  Train({Path("a"), Path("b")});
  config_.mutable_data()->mutable_train()->mutable_source(0)->set_weight(2);
  ExpectRefused({"data.train is", "weight: 2"});
  Train({Path("a"), Path("b")});
  config_.mutable_data()->mutable_valid()->mutable_source(0)->set_path(
      Path("b"));
  ExpectRefused({"data.valid: " + Path("b"), "digest"});
}

TEST_F(SameDataTest, WeightsThatGiveTheSameSharesAreTheSame) {
  WriteTokens("a", {300});
  WriteTokens("b", {300}, 11);
  const auto weigh = [&](double a, double b) {
    Train({Path("a"), Path("b")});
    config_.mutable_data()->mutable_train()->mutable_source(0)->set_weight(a);
    config_.mutable_data()->mutable_train()->mutable_source(1)->set_weight(b);
  };
  weigh(1, 1);
  ExpectRuns();
  weigh(0.5, 0.5);
  ExpectRuns();
  EXPECT_THAT(
      said_, AllOf(HasSubstr("changed since: "), HasSubstr("data.train is {")));
  weigh(0.3, 0.3);
  ExpectRuns();
  weigh(0.5, 0.25);
  ExpectRefused({"data.train is", "weight: 0.25"});
}

// What is held out of data.train means nothing beside data.valid.
TEST_F(SameDataTest, AShareOfNothingMayChange) {
  WriteTokens("a", {300});
  Train({Path("a")});
  config_.mutable_data()->mutable_valid()->add_source()->set_path(Path("a"));
  ExpectRuns();
  config_.mutable_data()->set_valid_fraction(0.2);
  ExpectRuns();
  config_.mutable_data()->clear_valid();
  ExpectRefused({"data.valid is"});
}

// Its vocabulary is the checkpoint's, wherever text and caches are.
TEST_F(SameDataTest, ATextThatMovedIsNeitherAnotherNorLearnedAgain) {
  const std::string text = GeneratedText(200000, 1);
  Train({directory_.Write("a.txt", text)});
  ExpectRuns();
  EXPECT_THAT(said_, HasSubstr("learning"));
  const std::string vocabulary =
      directory_.Read("run/checkpoints/step_00000001/tokenizer.model");

  fs::remove_all(Path("run/data"));
  ExpectRuns();
  EXPECT_THAT(said_, Not(HasSubstr("learning")));
  fs::create_directory(Path("moved"));
  fs::rename(Path("a.txt"), Path("moved/books.txt"));
  Train({Path("moved/books.txt")});
  EXPECT_THAT(Preview(), HasSubstr("known when the text is tokenized"));
  ExpectRuns();
  EXPECT_THAT(said_, Not(HasSubstr("learning")));
  EXPECT_EQ(directory_.Read("run/checkpoints/step_00000003/tokenizer.model"),
            vocabulary);
  EXPECT_THAT(Preview(),
              AllOf(HasSubstr("held out for validation (1"),
                    Not(HasSubstr("Note")), Not(HasSubstr("Refused"))));

  directory_.Write("moved/books.txt", GeneratedText(200000, 2));
  ExpectRefused({Path("moved/books.txt"), Checkpoint(), "digest", "was"});
  directory_.Write("moved/books.txt", text);
  ExpectRuns();
}

TEST_F(SameDataTest, AModelHasNoRowsForPiecesThatItsTextDoesNotAllow) {
  Train({directory_.Write("a.txt", GeneratedText(3000, 1))});
  config_.mutable_model()->set_vocab_size(5000);
  ExpectRefused({"model.vocab_size is 5000, must be at most "});
  options_.vocab_size_may_shrink = true;
  ExpectRuns();
  const auto tokenizer = Tokenizer::Load(Checkpoint() + "/tokenizer.model");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const int pieces = (*tokenizer)->vocab_size();
  EXPECT_LT(pieces, 5000);
  EXPECT_THAT(said_,
              HasSubstr(absl::StrCat("note: model.vocab_size is ", pieces,
                                     ", not 5000: the text allows no more")));
  for (const char* file : {"run/config.textproto",
                           "run/checkpoints/step_00000001/"
                           "train_config.textproto"})
    EXPECT_THAT(directory_.Read(file),
                HasSubstr(absl::StrCat("vocab_size: ", pieces, "\n")));
  // As moe-train takes it from the checkpoint.
  options_.vocab_size_may_shrink = false;
  config_.mutable_model()->set_vocab_size(pieces);
  ExpectRuns();
}

TEST_F(SameDataTest, ATokenizerIsKnownByItsBytes) {
  const std::string model =
      ModelBuilder().Bytes().Add({"th", "the", "an"}).Serialize();
  config_.mutable_data()->set_tokenizer(directory_.Write("t.model", model));
  Train({directory_.Write("a.txt", GeneratedText(20000, 1))});
  ExpectRuns();
  config_.mutable_data()->set_tokenizer(directory_.Write("u.model", model));
  ExpectRuns();
  fs::remove(Path("u.model"));
  ExpectRuns();
  config_.mutable_data()->clear_tokenizer();
  ExpectRuns();
  const std::string other =
      ModelBuilder().Bytes().Add({"th", "the", "on"}).Serialize();
  config_.mutable_data()->set_tokenizer(directory_.Write("t.model", other));
  ExpectRefused({Path("t.model") + " with digest " + DigestText(Digest(other)),
                 DigestText(Digest(model))});
}

TEST_F(SameDataTest, ARunOfTokensGetsNoTokenizer) {
  WriteTokens("tokens", {1000});
  Train({Path("tokens")});
  ExpectRuns();
  Train({directory_.Write("a.txt", GeneratedText(20000, 1))});
  ExpectRefused({"a.txt is text", "has no tokenizer"});
  Train({Path("tokens")});
  config_.mutable_data()->set_tokenizer(
      directory_.Write("t.model", ModelBuilder().Bytes().Serialize()));
  ExpectRefused({"data.tokenizer is", "has no tokenizer"});
}

// Each document is one token, and what follows it is another's.
TEST_F(SameDataTest, DataWithoutATargetAreToldOf) {
  WriteTokens("single", std::vector<size_t>(200, 1));
  Train({Path("single")});
  *config_.mutable_data()->mutable_valid() = config_.data().train();
  config_.mutable_data()->set_reset_attention(true);
  config_.mutable_eval()->set_interval_steps(1);
  ExpectRuns();
  EXPECT_THAT(said_, AllOf(HasSubstr("loss none (no target in the batch)"),
                           HasSubstr("step 1 has no validation loss (what is "
                                     "validated on has no target)")));
}

TEST_F(SameDataTest, APreviewSaysWhatARunWouldSay) {
  WriteTokens("tokens", {1000});
  Train({Path("tokens")});
  EXPECT_THAT(Preview(), HasSubstr("109 sequences to train on, 1 held out for "
                                   "validation (1 % of the tokens, 1 % asked "
                                   "for; the cut is "
                                   "inside a document)"));
  config_.mutable_data()->set_valid_fraction(0);
  EXPECT_THAT(Preview(), HasSubstr("none held out"));
  config_.mutable_data()->mutable_valid()->add_source()->set_path(
      Path("tokens"));
  EXPECT_THAT(Preview(), HasSubstr("111 of data.valid for validation"));
  config_.mutable_batch()->set_global_size(8);
  config_.mutable_eval()->set_interval_steps(1);
  config_.mutable_eval()->set_batches(4);
  EXPECT_THAT(Preview(),
              HasSubstr("111 of data.valid for validation, of which each "
                        "validation reads the first 32 (eval.batches is 4)\n"));
  for (const int batches : {0, 14}) {
    config_.mutable_eval()->set_batches(batches);
    EXPECT_THAT(Preview(), HasSubstr("111 of data.valid for validation\n"));
  }
  config_.mutable_eval()->set_interval_steps(0);
  EXPECT_THAT(Preview(), HasSubstr("for validation, never read"));
  config_.mutable_batch()->set_global_size(200);
  EXPECT_THAT(Preview(), HasSubstr("Refused: data.train holds 111 sequences"));
  fs::resize_file(Path("tokens.bin"), 100);
  EXPECT_THAT(Preview(), HasSubstr("Refused: " + Path("tokens.idx")));
  fs::remove(Path("tokens.idx"));
  EXPECT_THAT(Preview(), HasSubstr("there is no file"));
  EXPECT_FALSE(fs::exists(Path("run")));
}

}  // namespace
}  // namespace moe
