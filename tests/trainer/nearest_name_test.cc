#include "trainer/config/nearest_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "trainer/config/config_keys.h"
#include "trainer/config/foreign_keys.h"

namespace moe {
namespace {

TEST(EditDistance, CountsTheFewestChanges) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("steps", "stpes"), 1);  // a swap
  EXPECT_EQ(EditDistance("same", "same"), 0);
}

TEST(NearestName, IsTheFirstOfEquallyNear) {
  EXPECT_EQ(NearestName("bb", {"aa", "ab", "ba"}), "ab");
  EXPECT_EQ(NearestName("x", {}), "");
}

// Comparing all of it with every key would take minutes.
TEST(NearestConfigKey, OfMegabytesLooksAtTheBeginning) {
  const std::string pasted = "model.hiden_size" + std::string(16 << 20, 'x');
  EXPECT_EQ(NearestConfigKey(pasted), NearestConfigKey(pasted.substr(0, 64)));
  EXPECT_EQ(NearestName(pasted, {"model", "run"}), "model");
}

TEST(NearestConfigKey, EveryKeyIsCompared) {
  for (const std::string& key : ConfigKeys()) {
    EXPECT_LT(key.size(), kMostCompared);
    EXPECT_EQ(NearestConfigKey(key), key);
  }
}

TEST(NearestConfigKey, ForgivesLettersAndSections) {
  EXPECT_EQ(NearestConfigKey("model.hiden_size"), "model.hidden_size");
  EXPECT_EQ(NearestConfigKey("hidden_size"), "model.hidden_size");
  EXPECT_EQ(NearestConfigKey("optimizer.steps"), "schedule.steps");
  EXPECT_EQ(NearestConfigKey("logs.interval_steps"), "log.interval_steps");
  EXPECT_EQ(NearestConfigKey("evl.interval_step"), "eval.interval_steps");
}

TEST(NearestConfigKey, KnowsAbbreviations) {
  EXPECT_EQ(NearestConfigKey("lr"), "optimizer.learning_rate");
  EXPECT_EQ(NearestConfigKey("wd"), "optimizer.weight_decay");
  EXPECT_EQ(NearestConfigKey("seq_len"), "batch.sequence_length");
  EXPECT_EQ(NearestConfigKey("batch_size"), "batch.global_size");
  EXPECT_EQ(NearestConfigKey("n_layers"), "model.num_hidden_layers");
  EXPECT_EQ(NearestConfigKey("steps"), "schedule.steps");
  EXPECT_EQ(NearestConfigKey("warmup"), "schedule.warmup_steps");
  EXPECT_EQ(NearestConfigKey("dtype"), "run.compute_dtype");
}

TEST(NearestConfigKey, KnowsThemInASectionToo) {
  EXPECT_EQ(NearestConfigKey("optimizer.lr"), "optimizer.learning_rate");
  EXPECT_EQ(NearestConfigKey("model.layers"), "model.num_hidden_layers");
  EXPECT_EQ(NearestConfigKey("model.hidden"), "model.hidden_size");
  EXPECT_EQ(NearestConfigKey("model.experts"), "model.num_local_experts");
  EXPECT_EQ(NearestConfigKey("schedule.warmup"), "schedule.warmup_steps");
  EXPECT_EQ(NearestConfigKey("run.dir"), "run.directory");
  EXPECT_EQ(NearestConfigKey("batch.global"), "batch.global_size");
  EXPECT_EQ(NearestConfigKey("checkpoint.interval"),
            "checkpoint.interval_steps");
}

// Else a name would suggest what does not exist, or hide a key of ours.
TEST(NearestConfigKey, WhatOthersCallAKeyIsAKey) {
  const std::vector<std::string> keys = ConfigKeys();
  std::set<std::string> names;
  for (const ForeignKey& key : ForeignKeys()) {
    EXPECT_THAT(keys, testing::Contains(std::string(key.ours))) << key.theirs;
    EXPECT_TRUE(names.insert(std::string(key.theirs)).second) << key.theirs;
    EXPECT_EQ(NearestConfigKey(key.theirs), key.ours);
    for (const std::string& ours : keys)
      EXPECT_NE(ours.substr(ours.find('.') + 1), key.theirs);
  }
  EXPECT_EQ(NearestConfigKey("Batch-Size"), "batch.global_size");
  EXPECT_EQ(NearestConfigKey("training.grad_clip"), "optimizer.clip_norm");
}

TEST(NearestConfigKey, IsEmptyWhereNothingIsLikeIt) {
  EXPECT_EQ(NearestConfigKey("bs"), "");
  EXPECT_EQ(NearestConfigKey("epochs"), "");
  EXPECT_EQ(NearestConfigKey("xyzzy.plugh"), "");
}

}  // namespace
}  // namespace moe
