// Runs that go on from checkpoints of before there were digests and shares of
// tokens.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "tests/trainer/same_data_fixture.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OlderCheckpointTest : public SameDataTest {
 protected:
  // The newest checkpoint as it would have been written before digests and
  // before shares of tokens.
  void MakeOlder() {
    CheckpointManifest manifest = Manifest();
    manifest.clear_train();
    manifest.clear_valid();
    manifest.clear_valid_split();
    const auto corpus = Corpus::Open(Options(SplitRule::kDocuments));
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    manifest.set_samples_per_epoch((*corpus)->train().samples_per_epoch());
    directory_.Write(absl::StrFormat("run/checkpoints/step_%08d/%s",
                                     config_.schedule().steps(), kManifestFile),
                     ManifestText(manifest));
  }
};

TEST_F(OlderCheckpointTest, ItKeepsItsSplitAndGetsADigest) {
  WriteTokens("tokens", {300, 500, 200});
  Train({Path("tokens")});
  ExpectRuns();
  EXPECT_THAT(said_, HasSubstr("109 sequences to train on, 1 held out for "
                               "validation (1 % of the tokens, 1 % asked "
                               "for; the cut is "
                               "inside a document)"));
  EXPECT_EQ(Manifest().valid_split(), CheckpointManifest::TOKENS);
  MakeOlder();

  Train({Path("./tokens")});
  ExpectRefused({"data.train is", "a run that goes on cannot change these"});
  Train({Path("tokens")});
  ExpectRuns();
  EXPECT_THAT(said_, AllOf(HasSubstr("step_00000001 has no digest of its data"),
                           HasSubstr("share of the number of documents"),
                           HasSubstr("22 held out for validation (20 % of the "
                                     "tokens, 1 % asked for)")));
  EXPECT_EQ(Manifest().valid_split(), CheckpointManifest::DOCUMENTS);
  EXPECT_EQ(Manifest().train_size(), 1);

  Train({Path("./tokens")});
  ExpectRuns();
  EXPECT_THAT(said_, AllOf(Not(HasSubstr("no digest")),
                           HasSubstr("22 held out for validation (20 % of")));
}

TEST_F(OlderCheckpointTest, AnotherNumberOfSequencesIsRefused) {
  WriteTokens("tokens", {300, 500, 200});
  Train({Path("tokens")});
  ExpectRuns();
  MakeOlder();
  WriteTokens("tokens", {300, 600, 200});
  ExpectRefused({"data.train holds 99 sequences, had 88"});
}

}  // namespace
}  // namespace moe
