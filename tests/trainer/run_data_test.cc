// The data of a run on several ranks, each of which sees files of its own.
#include "trainer/run/run_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "comm/base/cores.h"
#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/temporary_directory.h"
#include "tests/mpi_test.h"
#include "trainer/run/run_directory.h"

namespace moe {
namespace {

class RunDataTest : public testing::Test {
 protected:
  // Of a pair with so many tokens, in a directory that only this rank sees.
  absl::StatusOr<RunData> OpenTokens(size_t count) {
    WriteDataset(directory_.Path("p"), CountingDocuments({count}));
    TrainConfig config;
    config.mutable_batch()->set_sequence_length(9);
    config.mutable_batch()->set_global_size(2);
    config.mutable_data()->mutable_train()->add_source()->set_path(
        directory_.Path("p"));
    const CorpusOptions options = {.config = config.data(),
                                   .vocab_size = 10000,
                                   .sequence_length = 9,
                                   .cache_directory = directory_.Path("cache"),
                                   .share_directory = ""};
    return OpenRunData(config, options, RunStart(), PosixFileSystem(), world(),
                       {.progress = [](const std::string&, int64_t, int64_t) {},
                        .say = [](const std::string&) {}});
  }
  ProcessGroup& world() { return groups_.world(); }

  const ProcessGroups groups_ = *MakeMpiGroups(
      TestRuntime(), *Mesh::Create(TestRuntime().world(), 1, 1, 8));
  TemporaryDirectory directory_;
};

TEST_F(RunDataTest, OneRankReadsForTheDigest) {
  const auto data = OpenTokens(1000);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->corpus->train().samples_per_epoch(), 109);
  EXPECT_EQ(data->identity.digest.train.size(), world().rank() == 0 ? 1u : 0u);
}

TEST_F(RunDataTest, ARankThatSeesOtherDataIsNamedOnAll) {
  const int last = world().size() - 1;
  const auto data = OpenTokens(world().rank() == last ? 1000 : 2000);
  if (last == 0) {
    EXPECT_TRUE(data.ok()) << data.status();
    return;
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(data.status())) << data.status();
  EXPECT_THAT(std::string(data.status().message()),
              testing::HasSubstr(absl::StrCat(
                  "rank ", last,
                  ": data.train holds 109 sequences and 1 is held out, "
                  "on rank 0 220 and 2: all nodes must see the same data")));
}

TEST(RunDataOptions, AreThoseOfTheConfigurationAndTheStart) {
  TrainConfig config;
  config.mutable_run()->set_directory("there");
  config.mutable_run()->set_seed(7);
  config.mutable_model()->set_vocab_size(300);
  config.mutable_batch()->set_sequence_length(9);
  config.mutable_data()->mutable_train()->add_source()->set_path("text.txt");
  StartOptions start;
  start.vocabulary_from = "weights";
  start.vocab_size_may_shrink = true;
  const CorpusOptions options = RunDataOptions(config, start, "share");
  EXPECT_EQ(options.config.train().source(0).path(), "text.txt");
  EXPECT_EQ(options.vocab_size, 300);
  EXPECT_EQ(options.sequence_length, 9);
  EXPECT_EQ(options.seed, 7u);
  EXPECT_EQ(options.cache_directory, RunDirectory("there").data());
  EXPECT_EQ(options.share_directory, "share");
  EXPECT_EQ(options.threads, AvailableCores());
  EXPECT_EQ(options.vocabulary_from, "weights");
  EXPECT_TRUE(options.vocab_size_may_shrink);
}

}  // namespace
}  // namespace moe
