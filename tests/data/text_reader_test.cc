#include "data/text/text_reader.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TextReaderTest : public ::testing::Test {
 protected:
  TextReaderTest() : directory_(testing::TempDir() + "text_reader_test") {
    PosixFileSystem().MakeDirectories(directory_).IgnoreError();
  }
  ~TextReaderTest() override {
    PosixFileSystem().Remove(directory_).IgnoreError();
  }

  std::string Write(const std::string& name, const std::string& contents) {
    const std::string path = JoinPath(directory_, name);
    EXPECT_TRUE(WriteFileAtomically(PosixFileSystem(), path, contents).ok());
    return path;
  }

  // All documents, or the first error.
  absl::StatusOr<std::vector<std::string>> Documents(const std::string& name,
                                                     const std::string& bytes) {
    ASSIGN_OR_RETURN(std::unique_ptr<TextReader> reader,
                     TextReader::Open(PosixFileSystem(), Write(name, bytes)));
    std::vector<std::string> documents;
    std::string storage;
    while (const std::optional<DocumentPlace> place = reader->Next()) {
      ASSIGN_OR_RETURN(const absl::string_view text,
                       reader->Text(*place, storage));
      documents.emplace_back(text);
    }
    EXPECT_EQ(reader->bytes_read(), reader->total_bytes());
    return documents;
  }

  absl::Status Error(const std::string& name, const std::string& bytes) {
    return Documents(name, bytes).status();
  }

  std::string directory_;
};

TEST_F(TextReaderTest, FormFeedsEndDocumentsAndLinesStayAsTheyAre) {
  EXPECT_THAT(*Documents("a.txt", "one\r\ntwo\r\n\fthree\f\f \n\f\nfour"),
              ElementsAre("one\r\ntwo\r\n", "three", "\nfour"));
}

TEST_F(TextReaderTest, TextWithoutFormFeedsIsCutBehindLineEnds) {
  std::string text;
  while (text.size() < 200 << 10) {
    absl::StrAppend(&text, "line ", text.size(), "\n");
  }
  const std::vector<std::string> documents = *Documents("a.txt", text);
  ASSERT_EQ(documents.size(), 4);
  EXPECT_EQ(absl::StrJoin(documents, ""), text);
  for (size_t i = 0; i + 1 < documents.size(); ++i) {
    EXPECT_EQ(documents[i].back(), '\n');
    EXPECT_GE(documents[i].size(), 64 << 10);
    EXPECT_LT(documents[i].size(), (64 << 10) + 20);
  }
}

TEST_F(TextReaderTest, ATextThatIsOneLineIsCutBetweenCharacters) {
  std::string text = "x";
  for (int i = 0; i < 800000; ++i) text += "\xE2\x82\xAC";
  const std::vector<std::string> documents = *Documents("a.txt", text);
  ASSERT_EQ(documents.size(), 3);
  EXPECT_EQ(absl::StrJoin(documents, ""), text);
  EXPECT_EQ(documents[1].substr(0, 3), "\xE2\x82\xAC");
}

TEST_F(TextReaderTest, AByteOrderMarkIsNotText) {
  EXPECT_THAT(*Documents("a.txt", "\xEF\xBB\xBFtext"), ElementsAre("text"));
  EXPECT_THAT(*Documents("a.jsonl", "\xEF\xBB\xBF{\"text\": \"b\"}"),
              ElementsAre("b"));
}

TEST_F(TextReaderTest, JsonLinesGiveTextAndIgnoreTheRest) {
  EXPECT_THAT(
      *Documents("a.jsonl",
                 "{\"text\": \"a\\nb \\u00e9 \\ud83e\\udd17 \\u0000\"}\r\n"
                 "\n  \t\n"
                 "{\"meta\": {\"text\": 3, \"l\": [1.5, {\"text\": null}]}, "
                 "\"text\": \"second\", \"z\": true}\n"
                 "{\"text\": \"\"}"),
      ElementsAre(std::string("a\nb \xC3\xA9 \xF0\x9F\xA4\x97 \0", 13),
                  "second", ""));
}

// Python's json.dumps writes them; JSON does not know them.
TEST_F(TextReaderTest, NotANumberBesideTextIsPassedOver) {
  EXPECT_THAT(*Documents("a.jsonl",
                         "{\"score\": NaN, \"text\": \"NaN, Infinity\"}\n"
                         "{\"text\": \"\\\"b\\\\\", \"l\": [-Infinity,NaN, "
                         "{\"x\":Infinity}], \"NaN\": NaN}\n"),
              ElementsAre("NaN, Infinity", "\"b\\"));
}

TEST_F(TextReaderTest, NotANumberIsNoText) {
  const auto error = [&](const std::string& line) {
    return std::string(Error("a.jsonl", line + "\n").message());
  };
  EXPECT_THAT(error("{\"text\": NaN}"), HasSubstr("\"text\" is a number"));
  EXPECT_THAT(error("NaN"), HasSubstr("the line is a number"));
  EXPECT_THAT(error("{\"text\": \"a\", \"x\": 1NaN}"),
              HasSubstr("broken JSON"));
  EXPECT_THAT(error("{\"text\": \"a\", \"x\": NaN 1}"),
              HasSubstr("broken JSON"));
  EXPECT_THAT(error("{\"text\": \"a\", \"x\": NaNs}"),
              HasSubstr("broken JSON"));
  EXPECT_THAT(error("{\"text\": \"a\", NaN: 1}"), HasSubstr("broken JSON"));
  EXPECT_THAT(error("{\"text\": \"a\", \"x\": nan}"), HasSubstr("broken JSON"));
  EXPECT_THAT(error("{\"x\": NaN, \"text\": \"a"), HasSubstr("broken JSON"));
}

TEST_F(TextReaderTest, ABrokenLineIsNamedByFileAndNumber) {
  const std::string good = "{\"text\": \"a\"}\n\n";
  const auto expect = [&](const std::string& line, const std::string& what) {
    const absl::Status status = Error("a.jsonl", good + line + "\n");
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << line;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("a.jsonl:3: "), HasSubstr(what)))
        << line;
  };
  expect("{\"text\": \"b\"", "broken JSON at byte");
  expect("{\"text\": \"b\"} x", "broken JSON at byte 15");
  expect("{\"text\": \"b\"}{\"text\": \"c\"}", "broken JSON");
  expect("{\"text\": \"\xFF\"}", "broken JSON");
  expect("{\"text\": \"\\ud800\"}", "broken JSON");
  expect("hello", "broken JSON");
  expect("{\"test\": \"b\"}", "no \"text\"");
  expect("{\"a\": {\"text\": \"b\"}}", "no \"text\"");
  expect("{\"text\": 3}", "\"text\" is a number");
  expect("{\"text\": null}", "\"text\" is null");
  expect("{\"text\": [\"b\"]}", "\"text\" is an array");
  expect("{\"text\": {\"text\": \"b\"}}", "\"text\" is an object");
  expect("{\"text\": \"b\", \"text\": \"c\"}", "twice");
  expect("\"text\"", "must be an object");
  expect("[{\"text\": \"b\"}]", "must be an object");
  expect(std::string(200000, '['), "must be an object");
  expect("{\"a\":" + std::string(200000, '['), "broken JSON");
}

// Behind what is looked at to tell text from other files.
TEST_F(TextReaderTest, AZeroByteBehindAnObjectIsNotItsEnd) {
  const std::string line =
      absl::StrCat("{\"text\": \"", std::string(70000, 'a'), "\"}");
  EXPECT_TRUE(Error("a.jsonl", line).ok());
  const absl::Status status =
      Error("a.jsonl", absl::StrCat(line, std::string("\0x", 2)));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("a.jsonl:1: byte 0x00 at byte 70013 of the line"));
}

TEST_F(TextReaderTest, ALineOverSixteenMebibytesIsRefused) {
  const std::string line =
      "{\"text\": \"" + std::string(16 << 20, 'a') + "\"}\n";
  const absl::Status status = Error("a.jsonl", "\n" + line);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("a.jsonl:2: "), HasSubstr("16777228"),
                    HasSubstr("16777216")));
}

TEST_F(TextReaderTest, FilesWithoutTextAreRefused) {
  for (const char* name : {"a.txt", "a.jsonl"}) {
    EXPECT_EQ(Error(name, "").code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(Error(name, "").message()), HasSubstr("is empty"));
    EXPECT_EQ(Error(name, " \r\n\t\f\n").code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(Error(name, "\xEF\xBB\xBF\n").message()),
                HasSubstr("nothing but white space"));
  }
}

TEST_F(TextReaderTest, BinaryFilesAreRefusedWithTheOffset) {
  const absl::Status early = Error("a.txt", std::string("\x7F"
                                                        "ELF\0\1",
                                                        6));
  EXPECT_EQ(early.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(early.message()),
              HasSubstr("is not text: byte 0x00 at offset 4"));
  const absl::Status late =
      Error("a.txt", "one\f" + std::string(100000, 'a') + '\0' + "b");
  EXPECT_EQ(late.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(late.message()),
              HasSubstr("byte 0x00 at offset 100004"));
  const absl::Status no_zero = Error("a.txt", "abc\x9A\xFF\x8B\x1F\xFE\xA0");
  EXPECT_EQ(no_zero.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(no_zero.message()),
              AllOf(HasSubstr("5 of its first 9 bytes"),
                    HasSubstr("0x9A, at offset 3")));
}

TEST_F(TextReaderTest, AFewBytesThatAreNoUtf8AreTheTokenizersMatter) {
  EXPECT_THAT(*Documents("a.txt", "caf\xE9 au lait, s'il vous pla\xEEt"),
              ElementsAre("caf\xE9 au lait, s'il vous pla\xEEt"));
}

TEST_F(TextReaderTest, TheWarningOfThemNamesFileNumberAndPlace) {
  EXPECT_THAT(IllFormedWarning({"a.txt", 3, 17}),
              HasSubstr("warning: a.txt is not all UTF-8: 3 bytes are read as "
                        "U+FFFD, the first at offset 17; "));
  EXPECT_THAT(IllFormedWarning({"a.txt", 1, 17}),
              HasSubstr("1 byte is read as U+FFFD, at offset 17; "));
}

TEST_F(TextReaderTest, OtherNamesAndPlacesAreRefused) {
  const auto open = [](const std::string& path) {
    return TextReader::Open(PosixFileSystem(), path).status();
  };
  const absl::Status name = open(Write("a.json", "{}"));
  EXPECT_EQ(name.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(name.message()),
              AllOf(HasSubstr("a.json"), HasSubstr(".txt or .jsonl")));
  EXPECT_EQ(open(directory_ + "/none.txt").code(), absl::StatusCode::kNotFound);
  const std::string directory = directory_ + "/d.txt";
  ASSERT_TRUE(PosixFileSystem().MakeDirectories(directory).ok());
  EXPECT_EQ(open(directory).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TextReaderTest, ThreadsMayReadDocumentsAtOnce) {
  std::string lines;
  for (int i = 0; i < 400; ++i) {
    absl::StrAppend(&lines, "{\"text\": \"document ", i, "\"}\n");
  }
  const auto reader =
      *TextReader::Open(PosixFileSystem(), Write("a.jsonl", lines));
  std::vector<DocumentPlace> places;
  while (const auto place = reader->Next()) places.push_back(*place);
  ASSERT_EQ(places.size(), 400);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      std::string storage;
      for (size_t i = 0; i < places.size(); ++i) {
        const auto text = reader->Text(places[i], storage);
        if (!text.ok() || *text != absl::StrCat("document ", i)) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace moe
